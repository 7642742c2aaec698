"""One thread for all tests: their tensors are tiny, and threads that wait for each other cost more than they compute."""

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test never asks the network

import torch  # noqa: E402

torch.set_num_threads(1)
