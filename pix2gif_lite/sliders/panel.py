"""What the GIF studio shows, as HTML: the gallery's pictures, the stage, the reading, the downloads. Nothing here computes."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping

from PIL import Image

from ..reasons import reason
from ..sheets import as_html
from .studio import Made

STAGE, TILE = 288, 46  # px: the GIF's side on screen, a gallery tile's
QUIET, BAD = "var(--jp-ui-font-color2, #616161)", "var(--jp-error-color1, #b3261e)"
KINDS = {".gif": "image/gif", ".mp4": "video/mp4"}


def sentence(words: str, bad: bool = False) -> str:
    """A line of status, or what went wrong."""
    role = ' role="alert"' if bad else ""
    return f'<div class="pix2gif-status"{role} style="color:{BAD if bad else QUIET}">{html.escape(words)}</div>'


def reading(asked: float, measured: float | None = None) -> str:
    """The motion asked for beside the motion measured, px at 256 x 256; None: not measured yet."""
    value = "…" if measured is None else f"{measured:.1f}"
    numbers = f'asked <b>{asked:g}</b> px, measured <b class="pix2gif-measured">{value}</b> px'
    unit = f'<span style="color:{QUIET}">(at 256 x 256)</span>'
    return f'<div class="pix2gif-reading" style="margin-left:92px">{numbers} {unit}</div>'


def _shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture, at most `side` px a side: what is sent need not be larger than what is seen."""
    small = picture.copy()
    small.thumbnail((side, side))
    return small


def stage(shown: Image.Image | bytes, alt: str, below: str) -> str:
    """The picture in the middle: a GIF or a still, always of one size, so that nothing jumps."""
    look = f"width:{STAGE}px;height:{STAGE}px;object-fit:contain;border-radius:10px;background:rgba(128,128,128,.12)"
    shown = _shrunk(shown, 2 * STAGE) if isinstance(shown, Image.Image) else shown
    picture = as_html(shown, alt).replace("<img ", f'<img class="pix2gif-stage" style="{look}" ', 1)
    return (
        f'<div style="margin:4px 12px">{picture}<div style="color:{QUIET};text-align:center">{html.escape(below)}</div></div>'
    )


def gallery(pictures: Mapping[str, Image.Image], chosen: str, mark: str) -> str:
    """The style sheet that paints picture k on the button of class `mark`-k, with a frame around the chosen one."""
    rules = []
    for k, (name, picture) in enumerate(pictures.items()):
        file = io.BytesIO()
        _shrunk(picture, 2 * TILE).save(file, "jpeg", quality=85)
        frame = "#1976d2" if name == chosen else "transparent"
        data = base64.b64encode(file.getvalue()).decode()
        look = f"width: {TILE}px !important; height: {TILE}px !important; border-radius: 8px; outline: 3px solid {frame}"
        paint = f"background: url(data:image/jpeg;base64,{data}) center/cover !important"
        rules.append(f".{mark}-{k} {{{paint}; {look}; outline-offset: -1px}}")
    return f"<style>{' '.join(rules)}</style>"


def details(made: Made) -> str:
    """Below the stage: all frames, the downloads, and the Python that makes them again."""
    links = []
    for suffix in KINDS:
        try:
            links.append(_link(made.encoded(suffix), suffix))
        except Exception as error:  # an mp4 needs PyAV, and a codec raises what it likes; the other file is there all the same
            links.append(f'<span style="color:{QUIET}">{suffix[1:]}: {html.escape(reason(error))}</span>')
    sheet = as_html(made.sheet, "all frames, each under the motion asked for and the motion measured")
    sheet = sheet.replace("<img ", '<img style="max-width:100%;border-radius:6px" ', 1)
    legend = f'<div style="color:{QUIET}">motion asked for &gt; motion measured, px at 256 x 256</div>'
    look = "white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere;margin:6px 0"
    code = f'<pre style="{look}">{html.escape(made.code)}</pre>'
    return f'<div style="margin:6px 2px">{sheet}{legend}<div style="margin:6px 0">{" ".join(links)}</div>{code}</div>'


def _link(data: bytes, suffix: str) -> str:
    look = "display:inline-block;padding:3px 12px;margin-right:8px;border-radius:6px;background:#1976d2;color:#fff"
    text = base64.b64encode(data).decode()
    name = suffix[1:]
    return (
        f'<a class="pix2gif-{name}" style="{look};text-decoration:none" download="pix2gif{suffix}" '
        f'href="data:{KINDS[suffix]};base64,{text}">Download {name}, {len(data) / 1024:.0f} KiB</a>'
    )
