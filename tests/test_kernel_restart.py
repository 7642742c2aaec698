"""A kernel that dies while the studio is at work: nothing half-written is left, and the same cell works in the next one."""

from __future__ import annotations

import os
import sys

import pytest

pytest.importorskip("jupyter_client", reason="needs the notebooks extra: pip install -e '.[notebooks]'")

PATIENCE = 600  # s: importing torch alone takes a minute where a training runs beside

CELL = """
from pix2gif_lite.sliders.studio import Studio
from pix2gif_lite.widgets import GifStudio
studio = GifStudio(Studio(scenes=1)).wait(500)
print("made", len(studio.made.out.frames), repr(studio.error), studio.make.disabled)
"""
AT_WORK = """
import threading
third = threading.Event()
studio.status.observe(lambda change: third.set() if "step 3 of 100" in change["new"] else None, names="value")
studio.how["steps"].value = 100
print("at work", third.wait(500), studio.worker.busy)
"""


def said(client, code: str) -> str:
    """What a cell printed; an error in it is an error here."""
    words = []

    def hook(message):
        if message["msg_type"] == "stream" and message["content"]["name"] == "stdout":
            words.append(message["content"]["text"])

    reply = client.execute_interactive(code, timeout=PATIENCE, output_hook=hook)
    assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", []))
    return "".join(words).strip()


def test_a_restart_in_the_middle_leaves_nothing_behind(tmp_path):
    from jupyter_client import KernelManager

    work, temporary = tmp_path / "work", tmp_path / "tmp"
    work.mkdir(), temporary.mkdir()
    manager = KernelManager()
    manager.kernel_spec.argv[0] = sys.executable  # this environment, whatever kernels are installed
    environment = os.environ | {"TMPDIR": str(temporary), "HF_HUB_OFFLINE": "1"}
    manager.start_kernel(cwd=str(work), env=environment)
    try:
        client = manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        assert said(client, CELL) == "made 8 '' False"
        assert said(client, AT_WORK) == "at work True True"
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=PATIENCE)
        assert [path for folder in (work, temporary) for path in folder.rglob("*") if path.is_file()] == []
        assert said(client, CELL) == "made 8 '' False"
        client.stop_channels()
    finally:
        manager.shutdown_kernel(now=True)
