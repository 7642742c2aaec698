"""Binder's two files, and the lane with the oldest versions, held against pyproject.toml."""

import os
import re
import sys
from pathlib import Path

import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it along there
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib"}  # conda-forge's names of what PyPI calls otherwise
NEEDED_BY_BINDER = ("video", "data", "notebooks")  # extras


def bounds(requirements):
    """{name: lowest version}. Nothing but lower bounds is allowed."""
    found = {}
    for requirement in requirements:
        if not requirement.startswith("pix2gif-lite["):
            name, version = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)", requirement).groups()
            found[name] = version
    return found


def environment():
    """(python line, channels, {PyPI's name: lowest version})."""
    text = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    lines = [line for line in text["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in text["dependencies"] if isinstance(line, dict)]
    python, second, *conda = lines
    assert second == "pip"
    asked = bounds(conda)
    return python, text["channels"], {CONDA.get(name, name): version for name, version in (asked | bounds(pip)).items()}


def test_environment_asks_for_what_pyproject_asks_for():
    wanted = bounds(PROJECT["dependencies"])
    for extra in NEEDED_BY_BINDER:
        wanted |= bounds(PROJECT["optional-dependencies"][extra])
    python, channels, asked = environment()
    assert asked == wanted
    assert python == "python=3.12"  # repo2docker does not parse ">="
    assert tuple(map(int, PROJECT["requires-python"].removeprefix(">=").split("."))) <= (3, 12)
    assert channels == ["conda-forge", "nodefaults"]


def test_postbuild_is_what_binder_runs():
    path = ROOT / "postBuild"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/bin/bash" and "set -euo pipefail" in lines, "without it Binder ignores failures"
    assert os.access(path, os.X_OK)
    assert any("pip install" in line and "--no-deps" in line and line.endswith(" .") for line in lines)
    assert not (ROOT / "binder").exists() and not (ROOT / ".binder").exists(), "would hide the two files"
    assert "./postBuild" in (ROOT / ".ci" / "run").read_text()
    for module in re.findall(r"^from (pix2gif_lite[\w.]*) import", path.read_text(encoding="utf-8"), re.M):
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"postBuild imports {module}"


def test_oldest_lane_installs_the_lower_bounds():
    text = (ROOT / ".ci" / "oldest").read_text()
    pinned = dict(re.findall(r'"([\w.-]+)==([\d.]+?)(?:\.\*)?"', text))
    declared = bounds(PROJECT["dependencies"]) | bounds(PROJECT["optional-dependencies"]["notebooks"])
    assert set(pinned) == {"diffusers", "transformers", "ipywidgets", "numpy"}
    assert pinned == {name: declared[name] for name in pinned}


def test_notebooks_come_last_and_are_run_by_nbval():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert options["testpaths"] == ["tests", "notebooks"]
    assert {"--nbval-lax", "--nbval-current-env"} <= set(options["addopts"].split())
    assert "notebooks" in " ".join(PROJECT["optional-dependencies"]["test"])
