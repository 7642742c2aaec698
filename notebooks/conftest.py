"""Notebooks are tests: pytest runs every cell of them by nbval, with the options of pyproject.toml."""

import os

# Inherited by the kernels. A test never asks the network, and is as short on a machine with a GPU. README says how
# notebook 07 trains the whole preset.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("PIX2GIF_PROFILE", "cpu")
os.environ.setdefault("PIX2GIF_STEPS", "64")  # of notebook 07's training, which by itself takes 200
os.environ.setdefault("PIX2GIF_TURBO_STEPS", "4")  # of notebook 12's student, which by itself takes 40
os.environ.setdefault("PIX2GIF_COMPILE", "0")  # torch.compile in notebook 12, which takes a minute on one busy core
os.environ.setdefault("PIX2GIF_TAUGHT_STEPS", "64")  # of notebook 11's swirl, which by itself takes 80
if os.environ["PIX2GIF_PROFILE"] == "cpu":  # as many notebooks as cores run at once, and a second thread each would mostly wait
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # and threads that wait must not spin


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):  # nbval's own 5 s, from a cell's end to its outputs, are too few on a busy machine
            item.output_timeout = 60
