"""The card of trained weights: README.md in the form that the Hugging Face Hub shows and searches.

It says what a stranger needs to use the weights and to judge them: from what they were made and how, what was measured at
the end, what they cannot do. Numbers come from the run's summary, nothing is rounded up to a claim; folders are named
without the path to them, which is nobody's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from .. import __version__
from ..files import write_whole
from ..origins.hub import CARD
from ..presets import MOTION_MAX, MOTION_MIN, Preset
from ..pretrained import HUB_ID

MARK = "<!-- Written by pix2gif-lite; remove this line, and your changes are never written over. -->"
TAGS = ["pix2gif", "latent-diffusion", "optical-flow", "arxiv:2403.04634"]
BESIDES = ("preset", "autoencoder", "table", "job")  # of a run's settings: said elsewhere, or told to nobody
OF_THE_RUN = ("steps", "samples", "seconds", "samples_per_second", "parameters", "device", "mixed_precision")
OF_THE_RUN += ("memory_bytes", "operations_per_sample", "matrix_rate", "share_of_matrix_rate")  # all others are losses
DERIVED = ("parent", "reference")  # kinds of starting weights that are somebody else's
STARTS = {
    "scratch": "random weights",
    "ours": "weights of Pix2Gif, {name}",
    "parent": "{name}, an image model whose UNet was widened to 12 input channels",
    "reference": "a checkpoint of the reference implementation, {name}",
}
LIMITS = """\
- Every frame is made from the one picture: what is hidden in it, behind an object or beyond its edge, has to be invented.
- The motion magnitude is an average over the picture (pixels at 256 x 256). It says how far things move, not what moves or
  where to; the caption does that, in words like those of the training data.
- Faces, hands and writing suffer first. Pictures unlike the training data move less well, or not at all.
- Ask for magnitudes from {low} to {high}, the range it was trained on.
"""
RIGHTS = """\
Animate only pictures that you may use, and say that the result is generated where anyone could take it for a recording. Do not
make people appear to do what they never did, and nothing that harasses or deceives. The weights inherit the leanings of their
data{parent}. No filter looks at the frames: whoever publishes one answers for it.
"""


def write_card(
    out: str | Path,
    preset: Preset,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    kind: str = "scratch",
    init: str | Path | None = None,
    place: str | Path | None = None,
) -> Path | None:
    """Write `out`/README.md, and say where; None where a README.md lies that was written by somebody else.

    preset      what was trained, as it was in the end (the perceptual network chosen, the parent's prediction type)
    summary     what `fit` returned, or summary.json: all numbers of the card are from here
    settings    whatever else decides the result, one row each: data, mix, scenes, photos, batch_size, lora_rank, ...
                Paths are cut down to their last name; None and False are left out
    kind, init  what it started from, as `starting.kind_of` tells, and its name as the user gave it
    place       the folder where `init` lies: the licence is taken from the card in it
    """
    path = Path(out) / CARD
    if path.is_file() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return None
    write_whole(path, card_text(preset, summary, settings, kind=kind, init=init, place=place).encode())
    return path


def card_text(
    preset: Preset,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    kind: str = "scratch",
    init: str | Path | None = None,
    place: str | Path | None = None,
) -> str:
    """The text of the card: a header in YAML, then Markdown. As `write_card`."""
    from huggingface_hub import ModelCardData

    name = "" if init is None else public_name(init)
    parent = name if HUB_ID.fullmatch(name) else None
    header = _licence(place, parent, kind)
    data = ModelCardData(library_name="diffusers", pipeline_tag="image-to-video", base_model=parent, tags=TAGS, **header)

    rows = {
        "made with": f"pix2gif-lite {__version__}",
        "preset": f"{preset.name}, variant {preset.variant}, {preset.image_size} px, {preset.prediction_type}",
        "started from": STARTS[kind].format(name=f"`{name}`"),
        "loss weights": {term: weight for term, weight in preset.loss_weights.items() if weight},
        "perceptual loss": f"{preset.perceptual_network}, against the {preset.perceptual_target}"
        if preset.loss_weights.get("perceptual")
        else None,
        **{key: value for key, value in settings.items() if key not in BESIDES},
        "length": f"{summary['steps']:,} steps, {summary['samples']:,} samples, {summary['seconds'] / 60:,.0f} minutes",
        "trained parameters": f"{summary['parameters']:,}",
        "machine": f"{summary['device']}, precision {summary['mixed_precision']}",
    }
    measured = {key: value for key, value in summary.items() if key not in OF_THE_RUN and isinstance(value, int | float)}
    inherited = f", and of `{name}`, whose terms of use come with them" if kind in DERIVED else ""
    parts = [
        f"---\n{data.to_yaml()}\n---\n\n{MARK}\n\n# Pix2Gif at {preset.image_size} px",
        "A picture, a caption and one number become a GIF: the number, the motion magnitude, says how far things move "
        "([arXiv 2403.04634](https://arxiv.org/abs/2403.04634)).",
        "## Use\n\n" + USE.format(install=installing()),
        "## How they were made\n\n" + _table(("what", "how"), rows),
        "## Measured at the end of training\n\n" + _table(("number", "value"), measured) + "\n" + MEASURED,
        "## Limits\n\n" + LIMITS.format(low=MOTION_MIN, high=min(MOTION_MAX, preset.motion_rows - 1)).strip(),
        "## Rights and misuse\n\n" + RIGHTS.format(parent=inherited).strip(),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


USE = """\
{install}

`WEIGHTS` is this repository's name, or the folder that it was downloaded to.

```bash
pix2gif-lite generate --weights WEIGHTS --image my.png --caption "a red balloon is rising" --motion 2,4,6,8,11 --out out.gif
```

```python
from PIL import Image
from pix2gif_lite import Pix2GifPipeline

pipe = Pix2GifPipeline.from_pretrained("WEIGHTS")
pipe(Image.open("my.png"), "a red balloon is rising", motion=[2, 4, 6, 8, 11], seed=0).save("out.gif")
```"""
MEASURED = """
Names that start with `val_` are of members kept out of training, the others of the last step; `copy` is what leaving the source
picture as it is would cost. Lower is better. These are training losses, no judgement by eye."""


def public_name(place: str | Path) -> str:
    """A Hub id as it is; of a folder or file the last part of its name."""
    text = str(place)
    if HUB_ID.fullmatch(text) and not Path(text).exists():
        return text
    return Path(text).expanduser().absolute().name


def _licence(place: str | Path | None, parent: str | None, kind: str) -> dict[str, str]:
    """The header's fields on the licence: what the card beside the starting weights states, or that it is open."""
    from huggingface_hub import ModelCard

    page = "" if parent is None else f"https://huggingface.co/{parent}"
    path = None if place is None else Path(place) / CARD
    found: dict[str, str] = {}
    if path is not None and path.is_file():
        try:
            data = ModelCard(path.read_text(encoding="utf-8", errors="replace"), ignore_metadata_errors=True).data
        except Exception:  # a stranger's header may be anything: then the licence is not known
            data = {}
        names = ("license", "license_name", "license_link")
        found = {name: data.get(name) for name in names if isinstance(data.get(name), str)}
    if "license" not in found:
        found = {"license": "other", "license_name": "that-of-the-parent" if kind in DERIVED else "not-chosen-yet"}
    link = found.pop("license_link", "") or (page if kind in DERIVED else "")
    if page and link and "://" not in link:  # a file of the parent's repository
        link = f"{page}/blob/main/{link}"
    return found | ({"license_link": link} if "://" in link else {})


def installing() -> str:
    """How readers of a card get the code: a command for pip, from which this very version comes, and a link to the repository.

    Both as the package's own metadata say; where it has none, or no repository in them, the name alone.
    """
    try:
        urls = metadata.metadata("pix2gif-lite").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # run from a folder that was never installed
        urls = []
    where = next((url.split(", ")[1] for url in urls if url.startswith("Repository, ")), None)
    package = "pix2gif-lite" if where is None else f"pix2gif-lite @ git+{where}@v{__version__}"
    code = (
        "" if where is None else f"\n\nCode, and notebooks that explain it step by step: [{where.split('://')[-1]}]({where})."
    )
    return f'```bash\npip install "{package}"\n```{code}'


def _table(head: tuple[str, str], rows: Mapping[str, Any]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    for name, value in rows.items():
        if value is not None and value is not False:
            lines.append(f"| {name.replace('_', ' ') if head[0] == 'what' else f'`{name}`'} | {_shown(value)} |")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    """A setting or number as it stands in a table's cell."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if value is True:
        return "yes"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Path) or (isinstance(value, str) and "/" in value and " " not in value):
        value = public_name(value)
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
