"""The repository keeps its own promises: README against the disk, imports one way, short files, nothing heavy at import."""

import ast
import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pix2gif_lite"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FILES = sorted(path.name for path in PACKAGE.glob("*.py") if path.name != "__init__.py")
THIRD_PARTY = {
    "torch", "diffusers", "transformers", "accelerate", "safetensors", "tokenizers", "numpy", "PIL", "cv2", "tqdm",
    "inflect", "huggingface_hub", "psutil", "torchmetrics",
}  # fmt: skip
OPTIONAL = {  # imported lazily, and only there
    "matplotlib": {"viz.py"},
    "torchvision": {"losses.py", "network_metrics.py"},
    "dreamsim": {"network_metrics.py"},
    "cdfvd": {"network_metrics.py"},
    "peft": {"lora.py"},
    "bitsandbytes": {"optimizers.py"},
    "num2words": {"text.py"},
    "ipywidgets": {"widgets.py"},
    "IPython": {"widgets.py"},
    "av": {"gifs.py", "videos.py"},
    "pyarrow": {"curation.py", "pair_data.py"},
    "imagehash": {"duplicates.py"},
    "distributed": {"parallel.py"},
    "urllib3": {"addresses.py", "public_web.py", "download.py"},
    "certifi": {"public_web.py"},
}


@functools.cache
def reading_order() -> list[str]:
    section = README.split("## The files, in reading order")[1].split("\n## ")[0]
    return re.findall(r"`(\w+\.py)`", "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `")))


@functools.cache
def imports(path: Path) -> list[tuple[bool, str, bool]]:
    """(relative?, first module name, at top level?) of every import in a file."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), []
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(False, name.name.split(".")[0], id(node) in top) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level > 0, (node.module or "").split(".")[0], id(node) in top))
    return found


def command(heading: str) -> str:
    section = README.split(f"\n{heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.S)
    assert len(blocks) == 1, f"{heading} must hold one fenced block"
    lines = blocks[0].strip().splitlines()
    assert len(lines) == 1, f"{heading} must hold one command"
    return lines[0]


def test_readme_lists_exactly_the_files_there_are():
    order = reading_order()
    assert sorted(order) == FILES
    assert len(set(order)) == len(order)


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_files_above_it(name):
    order = reading_order()
    above = {other.removesuffix(".py") for other in order[: order.index(name)]}
    type_only = {"scenes"} if name == "drawing.py" else set()  # an annotation, not an import at run time
    for relative, module, _ in imports(PACKAGE / name):
        if relative and module:
            assert module in above | type_only, f"{name} imports {module}, which stands below it"


@pytest.mark.parametrize("name", FILES)
def test_imports_are_declared(name):
    for relative, module, top in imports(PACKAGE / name):
        if relative or module in sys.stdlib_module_names or module == "pix2gif_lite":
            continue
        assert module in THIRD_PARTY | set(OPTIONAL), f"{name} imports {module}"
        if module in OPTIONAL:
            assert name in OPTIONAL[module] and not top, f"{module} may only be imported lazily, in {OPTIONAL[module]}"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.name)
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


def test_the_two_commands_of_the_readme():
    gif, tests = command("## Make a GIF"), command("## Run the tests")
    assert gif.startswith("python3 -m venv .venv") and "pix2gif-lite generate" in gif
    assert tests.endswith("-m pytest") and '".[test]"' in tests
    run = (ROOT / ".ci" / "run").read_text()
    assert '"## Make a GIF"' in run and '"## Run the tests"' in run


def test_every_cli_command_of_the_readme_parses():
    from pix2gif_lite.cli import build_parser

    lines = re.findall(r"(?:\.venv/bin/)?(pix2gif-lite \w[^\n`]*)", README)
    commands = [shlex.split(line.split("&&")[0], comments=True)[1:] for line in lines if "--weights OUT" not in line]
    assert len(commands) >= 5
    for arguments in commands:
        assert build_parser().parse_args(arguments).command == arguments[0]


def test_the_python_example_of_the_readme_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", README, re.S).group(1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pix2gif_lite" / "assets").mkdir(parents=True)
    (tmp_path / "pix2gif_lite" / "assets" / "example.png").write_bytes((PACKAGE / "assets" / "example.png").read_bytes())
    names: dict = {}
    exec(compile(code, "README", "exec"), names)
    assert len(names["out"].frames) == 8
    assert (tmp_path / "balloon.gif").stat().st_size > 1000


def test_links_of_the_readme_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_import_is_lazy():
    code = "import sys, pix2gif_lite; print([m for m in ('torch','diffusers','numpy','cv2','PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_public_name_can_be_had():
    import pix2gif_lite

    for name in pix2gif_lite.__all__:
        assert getattr(pix2gif_lite, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pix2gif_lite.nothing  # noqa: B018


def test_shipped_weights_are_small_and_safe():
    files = [path for path in (PACKAGE / "weights").rglob("*") if path.is_file()]
    sizes = {path: path.stat().st_size for path in files}
    folders = [path for path in (PACKAGE / "weights").iterdir() if path.is_dir()]
    for folder in folders:
        assert sum(size for p, size in sizes.items() if folder in p.parents and p.suffix == ".safetensors") <= 25e6
    assert sum(size for path, size in sizes.items() if path.suffix != ".safetensors") <= 1e6  # tokenizer, card, its pictures
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".txt", ".png", ".webp", ".gif", ".jsonl"}
    assert any(path.suffix == ".safetensors" for path in files)


def test_lint_and_format():
    for arguments in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run([sys.executable, "-m", "ruff", *arguments], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
