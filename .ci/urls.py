#!/usr/bin/env python3
"""Repository and tag, from their one place into badges, install cells and README: `.ci/urls.py [OWNER/NAME]`.

The place is pyproject.toml: the repository is `[project.urls]`, the tag is "v" and the version. With an argument the
repository is changed there first. Notebooks are changed in their sources and in the sources of their cells, never in outputs.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLUG, TAG = r"[\w.-]+/[\w.-]+?", r"[\w.-]+"  # OWNER/NAME, and a tag
COLAB, BINDER = "https://colab.research.google.com/github/", "https://mybinder.org/v2/gh/"
# Where a repository stands, and a tag behind it. The pieces in between are kept.
PATTERNS = [
    re.compile(rf"({re.escape(COLAB)})(?P<slug>{SLUG})(/blob/)(?P<tag>{TAG})(?=/)"),
    re.compile(rf"({re.escape(BINDER)})(?P<slug>{SLUG})(/)(?P<tag>{TAG})(?=\?)"),
    re.compile(rf"(git\+https://github\.com/)(?P<slug>{SLUG})(@)(?P<tag>{TAG})"),
]


def declared(root: Path = ROOT) -> tuple[str, str]:
    """(OWNER/NAME, tag) as pyproject.toml has them."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    slug = re.search(rf'^Repository = "https://github\.com/({SLUG})"$', text, re.M)
    version = re.search(r'^version = "(.+)"$', text, re.M)
    if not (slug and version):
        sys.exit("pyproject.toml holds no version, or no Repository under [project.urls].")
    return slug[1], f"v{version[1]}"


def mentioned(text: str) -> list[tuple[str, str]]:
    """Every (OWNER/NAME, tag) in a text, in the order of the patterns."""
    return [(found["slug"], found["tag"]) for pattern in PATTERNS for found in pattern.finditer(text)]


def rewritten(text: str, slug: str, tag: str) -> str:
    """The text with every repository and tag replaced."""
    for pattern in PATTERNS:
        text = pattern.sub(lambda found: f"{found[1]}{slug}{found[3]}{tag}", text)
    return text


def rewritten_notebook(text: str, slug: str, tag: str) -> str:
    """The same for the JSON of a notebook, outputs left as they are. Byte for byte the same where nothing changes."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        source = cell["source"]
        cell["source"] = (
            [rewritten(line, slug, tag) for line in source] if isinstance(source, list) else rewritten(source, slug, tag)
        )
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"  # as nbformat writes it


def files(root: Path = ROOT) -> list[Path]:
    """All files that name the repository."""
    notebooks = root / "notebooks"
    return [root / "README.md", *sorted(notebooks.glob("source/*.py")), *sorted(notebooks.glob("*.ipynb"))]


def main() -> None:
    if len(sys.argv) > 2 or (sys.argv[1:] and not re.fullmatch(SLUG, sys.argv[1])):
        sys.exit(f"usage: {sys.argv[0]} [OWNER/NAME]")
    if sys.argv[1:]:
        place = ROOT / "pyproject.toml"
        text = place.read_text(encoding="utf-8")
        place.write_text(text.replace(f"github.com/{declared()[0]}", f"github.com/{sys.argv[1]}"), encoding="utf-8")
    slug, tag = declared()
    for path in files():
        old = path.read_text(encoding="utf-8")
        new = (rewritten_notebook if path.suffix == ".ipynb" else rewritten)(old, slug, tag)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(path.relative_to(ROOT))
    print(f"{slug} at {tag}")


if __name__ == "__main__":
    main()
