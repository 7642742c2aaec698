"""Sync, execute and check the notebooks: `python .ci/notebooks.py` for all, `python .ci/notebooks.py 04 07` for some.

notebooks/source/NN_name.py (py:percent) is what is edited; notebooks/NN_name.ipynb is made from it, executed top to bottom
with outputs, without widget state, and written whole or not at all.
"""

import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent / "notebooks"
KEEP = {"kernelspec", "jupytext", "accelerator", "colab", "language_info"}


def build(source: Path) -> float:
    """One notebook from its source; returns the seconds it took."""
    notebook = jupytext.read(source, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem[:2]}-{number:02d}"  # the same at every build, so that a diff shows what changed
    began = time.perf_counter()
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    seconds = time.perf_counter() - began
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = {key: value for key, value in notebook.metadata.items() if key in KEEP}
    target = ROOT / f"{source.stem}.ipynb"
    temporary = target.with_suffix(".writing")
    nbformat.write(notebook, temporary)
    os.replace(temporary, target)
    return seconds


def main() -> None:
    chosen = [path for path in sorted((ROOT / "source").glob("*.py")) if not sys.argv[1:] or path.stem[:2] in sys.argv[1:]]
    if not chosen:
        sys.exit(f"No notebook {' '.join(sys.argv[1:])} in {ROOT / 'source'}.")
    for source in chosen:
        seconds = build(source)
        size = (ROOT / f"{source.stem}.ipynb").stat().st_size
        print(f"{source.stem}: {seconds:.0f} s, {size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
