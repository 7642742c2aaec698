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
PATHS = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
FILES = [path.as_posix() for path in PATHS if path.name != "__init__.py"]
FOLDERS = [path.parent.name for path in PATHS if path.name == "__init__.py"]
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
def reading_order() -> dict[str, list[str]]:
    """The files of each folder ("": of the package itself) in the order in which README lists them."""
    section = README.split("## The files, in reading order")[1].split("\n## ")[0]
    rows = [line.split("|")[1:] for line in section.splitlines() if line.startswith("| `")]
    order = {cell.strip(" `/"): re.findall(r"`(\w+\.py)`", files) for cell, _, files, *_ in rows if cell.endswith("/` ")}
    return {"": [cell.strip(" `") for cell, *_ in rows if cell.endswith(".py` ")]} | order


@functools.cache
def imports(path: Path) -> list[tuple[int, str, bool]]:
    """(dots before it, the module's dotted path, at top level?) of every import in a file."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), []
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(0, name.name, id(node) in top) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.level and (not node.module or node.module in FOLDERS):  # the files are what is imported
                names = [f"{node.module or ''}.{name.name}".strip(".") for name in node.names]
            found += [(node.level, name, id(node) in top) for name in names]
    return found


@functools.cache
def ours(name: str) -> set[str]:
    """The files of the package that a file of it imports, at whatever moment."""
    found = set()
    for dots, module, _ in imports(PACKAGE / name):
        if dots:
            target = "/".join([*name.split("/")[:-1][: len(name.split("/")) - dots], *module.split(".")]) + ".py"
            if module != "__version__":
                assert target in FILES, f"{name} imports {module}"
                found.add(target)
    return found - ({"scenes.py"} if name == "scenery/drawing.py" else set())  # an annotation, not an import at run time


def command(heading: str) -> str:
    section = README.split(f"\n{heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.S)
    assert len(blocks) == 1, f"{heading} must hold one fenced block"
    lines = blocks[0].strip().splitlines()
    assert len(lines) == 1, f"{heading} must hold one command"
    return lines[0]


def test_readme_lists_exactly_the_files_there_are():
    order = reading_order()
    assert sorted(order) == sorted(["", *FOLDERS])
    listed = [f"{folder}/{name}".strip("/") for folder, names in order.items() for name in names]
    assert sorted(listed) == sorted(FILES)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_its_files_are(folder):
    told = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text(encoding="utf-8")))
    lines = re.findall(r"^(\w+\.py) +(\S.*)$", told, re.M)
    assert [name for name, _ in lines] == reading_order()[folder]
    about = re.search(rf"^\| `{folder}/` \| (.*?) \|", README, re.M).group(1)
    assert told.startswith(f"{about}.\n")


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_files_above_it(name):
    folder, _, own = name.rpartition("/")
    order = reading_order()[folder]
    above = {f"{folder}/{other}".strip("/") for other in order[: order.index(own)]}
    for other in ours(name):
        if other.rpartition("/")[0] == folder:
            assert other in above, f"{name} imports {other}, which stands below it"


def test_nothing_is_imported_in_a_circle():
    """Neither a file, over however many others, nor a folder: it imports only folders above it in README."""
    left = {name: ours(name) for name in FILES}
    while left:
        free = {name for name, needs in left.items() if not needs & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {name: needs for name, needs in left.items() if name not in free}
    folders = [*reading_order()]  # the package itself, "", comes first
    for name in FILES:
        for other in ours(name) if "/" in name else ():
            mine, its = (folders.index(file.rpartition("/")[0]) for file in (name, other))
            assert its <= mine, f"{name} imports {other}, whose folder stands below"


@pytest.mark.parametrize("name", FILES)
def test_imports_are_declared(name):
    for dots, path, top in imports(PACKAGE / name):
        module = path.split(".")[0]
        if dots or module in sys.stdlib_module_names or module == "pix2gif_lite":
            continue
        assert module in THIRD_PARTY | set(OPTIONAL), f"{name} imports {module}"
        if module in OPTIONAL:
            assert name.split("/")[-1] in OPTIONAL[module] and not top, (
                f"{module} may only be imported lazily, in {OPTIONAL[module]}"
            )


@pytest.mark.parametrize("name", FILES)
def test_files_are_short(name):
    assert len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) <= 250


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
