"""The notebooks keep their rules: skeleton, size, outputs, pairs, sliders, Colab. That they run is nbval's part."""

import ast
import base64
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from pix2gif_lite.presets import SLIDERS

ROOT = Path(__file__).parent.parent
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))
CHECKED = "nbval-check-output"
HEADINGS = (
    "Symbols", "Set-up", "The idea", "By hand", "Compared with the package", "The source", "Slide", "Where it fails",
    "Exercises", "Recap",
)  # fmt: skip
INSTALL = """# In Colab: fetch the package. Anywhere it is installed already: nothing happens.
from importlib.util import find_spec

if find_spec("pix2gif_lite") is None:
    %pip install -q --no-deps "pix2gif_lite @ git+https://github.com/{slug}@{tag}" av imagehash peft
    pass"""
# A place on somebody's disk. Not behind a word, a dot or a slash: those are parts of an address.
ABSOLUTE = re.compile(r"(?<![\w.:/~-])(?:/(?:home|root|work|tmp|usr|var|opt|mnt|srv|repo|content|Users)/|[A-Z]:\\\\)")
OPENING = {"open", "Path", "read_frames", "open_image", "imread", "read_text", "load"}  # what takes the name of a file

each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
each_book = pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


urls = load_script("urls")


def read(path):
    return nbformat.read(path, 4) if path.suffix == ".ipynb" else jupytext.read(path, fmt="py:percent")


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def prose(book):
    return "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


def tags(cell):
    return cell.metadata.get("tags", [])


def output_texts(book):
    """Everything a reader sees below the cells, pictures left out."""
    for cell in code(book):
        for output in cell.outputs:
            yield output.get("text", "")
            for kind, shown in output.get("data", {}).items():
                if kind.startswith("text/"):
                    yield re.sub(r"base64,[A-Za-z0-9+/=]+", "", shown)


def test_thirteen_notebooks_in_pairs_all_told_in_the_readme():
    assert [path.stem for path in BOOKS] == [path.stem for path in SOURCES]
    assert [path.stem[:3] for path in BOOKS] == [f"{k:02d}_" for k in range(13)]
    learn = (ROOT / "README.md").read_text(encoding="utf-8").split("## Learn")[1].split("\n## ")[0]
    assert re.findall(r"\]\(notebooks/(\w+)\.ipynb\)", learn) == [path.stem for path in BOOKS]


# ------------------------------------------------------------------------------------------------- what is written in them


@each_source
def test_skeleton(path):
    book = read(path)
    assert len(book.cells) <= 40
    assert all(cell.source.strip() for cell in book.cells), "an empty cell"
    first, last, text = book.cells[0].source, book.cells[-1], prose(book)
    assert first.startswith(f"# {path.stem[:2]} · ")
    assert len(first.split("**You will learn**")[1].split("\n\n")[0].strip().split("\n- ")) == 3, "three things to learn"
    assert "**In the paper:**" in first
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert [heading for heading in HEADINGS if headings.count(heading) != 1] == []
    assert headings[:3] == list(HEADINGS[:3])
    assert headings.index("By hand") < headings.index("Compared with the package") < headings.index("Where it fails")
    assert headings.index("Where it fails") < headings.index("Exercises") < headings.index("Recap")
    assert "$$" in text, "the idea in LaTeX"
    assert text.count("<details>") == text.count("</details>") == 2, "two exercises with a folded answer each"
    assert last.cell_type == "code" and last.source.count("assert") >= 3, "the last cell asserts what was taught"
    source = "\n".join(cell.source for cell in code(book))
    assert "assert_close(" in source and "inspect.getsource(" in source
    assert re.search(r"\bExplorer\(|\bGifStudio\(", source), "a slider"
    assert sum("edit" in cell.source or cell.source.startswith("answer") for cell in code(book)) >= 2, "two check cells"
    assert 2 <= sum(CHECKED in tags(cell) for cell in code(book)) <= 4


@each_source
def test_set_up_has_at_most_five_lines(path):
    cells = read(path).cells
    place = next(k for k, cell in enumerate(cells) if cell.cell_type == "markdown" and "## Set-up" in cell.source)
    lines = [line for line in cells[place + 1].source.splitlines() if line and not re.match(r"(from|import) ", line)]
    assert cells[place + 1].cell_type == "code" and len(lines) <= 5


@each_source
def test_opens_in_colab(path):
    book, (slug, tag) = read(path), urls.declared()
    badge = f"(https://colab.research.google.com/github/{slug}/blob/{tag}/notebooks/{path.stem}.ipynb)"
    assert badge in book.cells[0].source
    assert code(book)[0].source == INSTALL.format(slug=slug, tag=tag), "the guarded install cell comes before all other code"
    assert book.metadata["accelerator"] == "GPU" and book.metadata["colab"]["gpuType"] == "T4"
    assert book.metadata["kernelspec"]["name"] == "python3"


@each_source
def test_no_file_is_named_by_where_it_lies(path):
    """Neither absolute nor relative to the working directory: in Colab that is not the repository."""
    text = path.read_text(encoding="utf-8")
    assert ABSOLUTE.findall(text) == []
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and node.args]
    for call in calls:
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        literal = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
        assert not (name in OPENING and isinstance(literal, str)), f"line {call.lineno}: {name}({literal!r})"


def test_absolute_paths_are_recognised():
    for text in ('open("/work/main/a.gif")', "saved to /tmp/x/a.gif", "File /home/ann/x.py", "(/root/x)"):
        assert ABSOLUTE.search(text), text
    for text in ("https://host.org/home/x", "../tmp/x", "1/2", "s_T/s_I", "a/work/b"):
        assert not ABSOLUTE.search(text), text


def slider_literals():
    """(where, minimum, maximum, step, default) of every Slider(...) in a notebook; None for what is computed there."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Slider":
                values = []
                for argument in node.args[:4]:
                    try:
                        values.append(ast.literal_eval(argument))
                    except ValueError:
                        values.append(None)
                yield f"{path.stem}, line {node.lineno}", *values


def test_defaults_lie_inside_their_sliders():
    ours = [(name, s.minimum, s.maximum, s.step, s.default) for name, s in SLIDERS.items()]
    found = list(slider_literals())
    assert len(found) >= 10
    for where, minimum, maximum, step, default in [*ours, *found]:
        assert minimum is not None and default is not None and step > 0, where
        assert minimum <= default and (maximum is None or default <= maximum), f"{where}: {default} is outside"
        assert abs((default - minimum) / step - round((default - minimum) / step)) < 1e-6, (
            f"{where}: {default} is between steps"
        )


# ------------------------------------------------------------------------------------------------------ what is stored in them


@each_book
def test_pairs_agree(path):
    book, source = read(path), read(path.parent / "source" / f"{path.stem}.py")
    pairs = [[(cell.cell_type, cell.source, tags(cell)) for cell in one.cells] for one in (book, source)]
    differ = [k for k, (a, b) in enumerate(zip(*pairs, strict=False)) if a != b]
    assert not differ and len(pairs[0]) == len(pairs[1]), f"cells {differ} differ: run .venv/bin/python .ci/notebooks.py"
    for key in ("accelerator", "colab", "kernelspec"):
        assert book.metadata[key] == source.metadata[key]


@each_book
def test_executed_top_to_bottom_without_errors(path):
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == [], "warnings"
    assert all(cell.outputs for cell in cells if CHECKED in tags(cell)), "a marked cell shows nothing"
    assert sum(text.count("<img") for text in output_texts(read(path))) >= 4, "pictures"


@each_book
def test_small_enough_to_be_shown(path):
    assert path.stat().st_size <= 1_000_000
    for cell in code(read(path)):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "image/gif" not in data, "exports show that as text: use Embedded"
            for picture in re.findall(r"data:image/gif;base64,([A-Za-z0-9+/=]+)", data.get("text/html", "")):
                raw = base64.b64decode(picture)
                assert raw.startswith(b"GIF8") and len(raw) <= 300_000


@each_book
def test_pictures_have_an_alternative_text(path):
    for text in output_texts(read(path)):
        for picture in re.findall(r"<img[^>]*>", text):
            assert re.search(r'alt="[^"]{5,}"', picture)


@each_book
def test_no_widget_state_and_no_path_is_stored(path):
    book = read(path)
    assert set(book.metadata) <= {"kernelspec", "jupytext", "accelerator", "colab", "language_info"}
    assert not any("widget-view" in kind for cell in code(book) for output in cell.outputs for kind in output.get("data", {}))
    assert [text for text in output_texts(book) if ABSOLUTE.search(text)] == []


# ---------------------------------------------------------------------------------------------------- repository and tag


def test_repository_and_tag_agree_everywhere():
    declared = urls.declared()
    assert declared[1] == f"v{__import__('pix2gif_lite').__version__}"
    for path in urls.files():
        text = path.read_text(encoding="utf-8")
        found = urls.mentioned(text)
        assert len(found) >= 2, f"{path.name}: a badge and an install cell, or two badges"
        assert set(found) == {declared}, f"{path.name}: run .ci/urls.py"


def test_one_command_changes_repository_and_tag(tmp_path):
    for name in (
        ".ci/urls.py",
        "README.md",
        "pyproject.toml",
        "notebooks/03_motion_embedding.ipynb",
        "notebooks/source/05_losses.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    book = tmp_path / "notebooks" / "03_motion_embedding.ipynb"
    before, old = book.read_text(encoding="utf-8"), urls.declared()[0]
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('\nversion = "', '\nversion = "9.'))
    run = [sys.executable, tmp_path / ".ci" / "urls.py"]
    subprocess.run([*run, "ann/gifs.2"], check=True, capture_output=True)
    slug, tag = urls.declared(tmp_path)
    assert slug == "ann/gifs.2" and tag.startswith("v9.")
    assert all(set(urls.mentioned(path.read_text(encoding="utf-8"))) == {(slug, tag)} for path in urls.files(tmp_path))
    cells = [json.loads(text)["cells"] for text in (before, book.read_text(encoding="utf-8"))]
    assert [cell.get("outputs") for cell in cells[0]] == [cell.get("outputs") for cell in cells[1]]
    pyproject.write_text((ROOT / "pyproject.toml").read_text())
    subprocess.run([*run, old], check=True, capture_output=True)
    assert book.read_text(encoding="utf-8") == before  # there and back, byte for byte
    assert subprocess.run([*run, "no slash"], capture_output=True).returncode == 1


# ------------------------------------------------------------------------------------------------------------ the builder


def test_builder_writes_whole_notebooks_or_none(tmp_path):
    """Three small ones through .ci/notebooks.py, real kernels: one is fine, one raises, one leaves a file about."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "notebooks.py", tmp_path / ".ci")
    folder = tmp_path / "notebooks"
    (folder / "source").mkdir(parents=True)
    cells = {"00_fine": "print(6 * 7)", "01_raises": "1 / 0", "02_litters": 'open("left.txt", "w").close()'}
    for name, text in cells.items():
        (folder / "source" / f"{name}.py").write_text(f"# %% [markdown]\n# # Title\n\n# %%\n{text}\n")
        (folder / f"{name}.ipynb").write_text("as it was")
    done = subprocess.run([sys.executable, tmp_path / ".ci" / "notebooks.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"00_fine: \d+ s, at most 0\.\d+ GiB, \d+ kB", done.stdout)
    assert "01_raises was left as it was" in done.stderr and "ZeroDivisionError" in done.stderr and "left.txt" in done.stderr
    assert code(nbformat.read(folder / "00_fine.ipynb", 4))[0].outputs[0].text == "42\n"
    assert [(folder / f"{name}.ipynb").read_text() for name in ("01_raises", "02_litters")] == ["as it was"] * 2
    assert sorted(path.name for path in folder.iterdir()) == [*[f"{name}.ipynb" for name in cells], "source"]
