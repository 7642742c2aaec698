"""What starting costs: a fresh process that imports the package, one that makes its first GIF, and the memory it takes.

Each is a process of its own, started for it; everything between the start of Python and its end is counted for the first GIF.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..reasons import Failed

IMPORT = "import time; began = time.perf_counter(); import pix2gif_lite; print(time.perf_counter() - began)"
FIRST_GIF = """
import sys
from pix2gif_lite.cli import main
code = main(["generate", *sys.argv[1:]])
from pix2gif_lite.benchmark.bench_cold import peak_memory
print(peak_memory())
sys.exit(code)
"""


def peak_memory() -> int:
    """The most bytes of memory that this process has had, resident."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage on Linux counts the parent's memory at the time of the fork, too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def cold_start(weights: str, starts: int = 5) -> dict[str, Any]:
    """Medians of so many fresh processes, after one that warms the disk's cache:

    import_s       `import pix2gif_lite`, inside
    python_s       a process that does it, from outside
    first_gif_s    a process that makes the example's GIF with these weights
    peak_bytes     the most memory of one of those

    `Failed` with what a process said where one fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        make = ["--weights", weights, "--out", str(Path(folder) / "out.gif")]
        imports = [_run(IMPORT) for _ in range(1 + starts)][1:]
        gifs = [_run(FIRST_GIF, *make) for _ in range(1 + starts)][1:]
    return {
        "import_s": statistics.median(float(said[-1]) for said, _ in imports),
        "python_s": statistics.median(seconds for _, seconds in imports),
        "first_gif_s": statistics.median(seconds for _, seconds in gifs),
        "peak_bytes": max(int(said[-1]) for said, _ in gifs),
        "starts": starts,
    }


def _run(code: str, *arguments: str) -> tuple[list[str], float]:
    """The lines that a fresh Python running this code says, and how long it lived, seconds."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or "it said nothing; killed for its memory?"
        raise Failed(f"A fresh process ended with {done.returncode}: {said}")
    return done.stdout.splitlines(), seconds
