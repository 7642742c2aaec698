"""Execute the notebooks and sync them with their sources: `.venv/bin/python .ci/notebooks.py`, or `... 04 07` for some.

notebooks/source/NN_name.py (py:percent) is what is edited; notebooks/NN_name.ipynb is made from it, executed top to bottom in
an empty folder, without widget state, and written whole or not at all. What fails is said at the end, and the others are
written all the same.
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import jupytext
import nbformat
import psutil
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent / "notebooks"
KEEP = {"kernelspec", "jupytext", "accelerator", "colab", "language_info"}  # of a notebook's metadata
WIDGET = "application/vnd.jupyter.widget-view+json"
LARGEST = 1_000_000  # bytes a notebook
CELL_SECONDS = 900  # at most; notebook 07 trains in one of them

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no notebook asks the network
os.environ.setdefault("PIX2GIF_PROFILE", "cpu")  # as what is committed was made, on a machine with a GPU too


class PeakMemory(threading.Thread):
    """The largest resident memory of all processes that this one started, in bytes, looked at five times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._done = 0, threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.2):
            resident = 0
            for process in psutil.Process().children(recursive=True):
                try:
                    resident += process.memory_info().rss
                except psutil.NoSuchProcess:
                    pass
            self.peak = max(self.peak, resident)

    def __enter__(self) -> "PeakMemory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Leave out what only meant something to the kernel that is gone."""
    notebook.metadata = {key: value for key, value in notebook.metadata.items() if key in KEEP}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            if WIDGET in output.get("data", {}):  # a widget without its kernel is shown as an error
                output.data = {"text/plain": "Sliders: run this cell.", "text/html": "<em>Sliders: run this cell.</em>"}


def heaviest(notebook: nbformat.NotebookNode) -> str:
    """The three cells with the largest outputs, for whoever has to make a notebook smaller."""
    sizes = [(len(str(output)), k) for k, cell in enumerate(notebook.cells) for output in cell.get("outputs", ())]
    return ", ".join(f"cell {k} with {size // 1000} kB" for size, k in sorted(sizes, reverse=True)[:3])


def build(source: Path) -> str:
    """One notebook from its source. Returns what it cost; raises what a cell raised, ValueError for what breaks a rule."""
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem[:2]}-{number:02d}"  # the same at every build, so that a diff shows what changed
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as empty, PeakMemory() as memory:
        resources = {"metadata": {"path": empty}}  # Colab's working directory is not the repository either
        quiet = ["--log-level=ERROR"]  # of the kernel itself: a warning that the connection is not encrypted
        NotebookClient(
            notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=resources, extra_arguments=quiet
        ).execute()
        if left := os.listdir(empty):
            raise ValueError(f"It left {', '.join(left)} in the working directory.")
    seconds = time.perf_counter() - began
    tidy(notebook)
    text = nbformat.writes(notebook) + "\n"
    if len(text.encode()) > LARGEST:
        raise ValueError(f"{len(text.encode()) / 1e6:.2f} MB is more than {LARGEST / 1e6:g}: {heaviest(notebook)}.")
    target = ROOT / f"{source.stem}.ipynb"
    temporary = target.with_suffix(".writing")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, target)
    return f"{seconds:.0f} s, at most {memory.peak / 2**30:.2f} GiB, {len(text.encode()) / 1000:.0f} kB"


def main() -> None:
    wanted = sys.argv[1:]
    sources = {path.stem[:2]: path for path in sorted((ROOT / "source").glob("*.py"))}
    if unknown := [number for number in wanted if number not in sources]:
        sys.exit(f"There is no notebook {', '.join(unknown)}: choose from {', '.join(sources)}.")
    failed = {}
    for number in wanted or sources:
        name = sources[number].stem
        try:
            print(f"{name}: {build(sources[number])}", flush=True)
        except Exception as error:  # the others are built all the same; told now, and again at the end
            failed[name] = str(error).strip() or type(error).__name__
            print(f"{name}: failed", flush=True)
    for name, why in failed.items():
        print(f"\n{name} was left as it was:\n{why}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
