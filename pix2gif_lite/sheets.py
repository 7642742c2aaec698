"""Tensors to pictures: sheets of many pictures, flow as colours, and pictures and GIFs as HTML. Nothing here computes."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .canvas import to_pil

PAPER, TEXT = (255, 255, 255), (40, 40, 48)  # of a sheet: background and words, RGB
FONT_SIZE = 12  # px


def as_picture(picture: Any) -> Image.Image:
    """A picture (3, H, W) or (1, 3, H, W) in [-1, 1], or a PIL image, as an RGB PIL image. ValueError for another shape."""
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if picture.ndim == 4 and len(picture) == 1:
        picture = picture[0]
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise ValueError(f"A tensor of shape {tuple(picture.shape)} is no picture: pass (3, H, W) in [-1, 1].")
    return to_pil(picture)


def contact_sheet(
    rows: Sequence[Sequence[Any]],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    size: int | None = None,
    gap: int = 4,
) -> Image.Image:
    """One picture of many: a grid of `rows` of pictures as `as_picture` takes them; None leaves a cell empty.

    row_labels stand above their row (captions are long), column_labels above their column. `size` is a cell's side in
    px (default: the largest picture's); pictures are enlarged without smoothing, so that what is seen is what is there.
    Raises ValueError for an empty sheet, or labels that are not one a row or column.
    """
    cells = [[None if picture is None else as_picture(picture) for picture in row] for row in rows]
    pictures = [picture for row in cells for picture in row if picture is not None]
    if not pictures:
        raise ValueError("A sheet of no pictures: give at least one row with one picture.")
    columns = max(map(len, cells))
    for labels, count, what in ((row_labels, len(cells), "rows"), (column_labels, columns, "columns")):
        if labels is not None and len(labels) != count:
            raise ValueError(f"{len(labels)} labels for {count} {what}: give one each.")
    side = size or max(max(picture.size) for picture in pictures)
    font, line = ImageFont.load_default(FONT_SIZE), FONT_SIZE + 6
    header = line if column_labels else 0
    above = line if row_labels else 0
    step = side + gap
    sheet = Image.new("RGB", (gap + columns * step, gap + header + len(cells) * (above + step)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for c, label in enumerate(column_labels or ()):
        pen.text((gap + c * step, gap), _fitted(pen, label, side, font), TEXT, font)
    for r, row in enumerate(cells):
        top = gap + header + r * (above + step)
        if row_labels:
            pen.text((gap, top), _fitted(pen, row_labels[r], sheet.width - 2 * gap, font), TEXT, font)
        for c, picture in enumerate(row):
            if picture is not None:
                sheet.paste(_inside(picture, side), (gap + c * step, top + above))
    return sheet


def _fitted(pen: ImageDraw.ImageDraw, words: str, width: int, font: Any) -> str:
    """The words, cut so that they are at most `width` px wide."""
    if pen.textlength(words, font) <= width:
        return words
    while words and pen.textlength(words + "...", font) > width:
        words = words[:-1]
    return words + "..."


def _inside(picture: Image.Image, side: int) -> Image.Image:
    """The picture scaled to fit a square of `side` px, its aspect kept."""
    factor = side / max(picture.size)
    if factor == 1:
        return picture
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    return picture.resize([max(1, round(factor * length)) for length in picture.size], how)


def flow_to_rgb(flow: Tensor, maximum: float | Tensor | None = None) -> Tensor:
    """A flow (B, 2, H, W) as colours (B, 3, H, W) in [-1, 1]: hue is direction, saturation is length, white is no motion.

    Right is red, and the hue goes round clockwise as seen: down is green-yellow, left cyan, up violet. `maximum` is the
    length of full colour (default: each flow's own longest vector), so give one to compare flows.
    """
    if flow.ndim != 4 or flow.shape[1] != 2:
        raise ValueError(f"A tensor of shape {tuple(flow.shape)} is no flow: pass (B, 2, H, W), x then y.")
    x, y = flow.float().unbind(1)
    length = torch.hypot(x, y)
    if maximum is None:
        maximum = length.amax((1, 2), keepdim=True)
    maximum = torch.as_tensor(maximum, dtype=torch.float32, device=flow.device).clamp_min(1e-6)
    saturation = (length / maximum).clamp(0, 1)[:, None]
    hue = torch.remainder(torch.atan2(y, x) / (2 * math.pi), 1)[:, None]  # in turns
    # HSV to RGB at value 1: each channel is a trapezoid of the hue, a third of a turn apart (Smith 1978)
    offsets = torch.tensor([0.0, 4.0, 2.0], device=flow.device).view(1, 3, 1, 1)
    pure = ((torch.remainder(6 * hue + offsets, 6) - 3).abs() - 1).clamp(0, 1)
    return 2 * (1 - saturation + saturation * pure) - 1


# ---------------------------------------------------------------------------------------------------------------- HTML


def as_html(shown: Any, alt: str = "") -> str:
    """What a drawing function returned, as HTML: a PIL image, the bytes of a GIF or PNG, a text, or a list of those.

    Pictures are embedded, so that they survive in a saved notebook and its exports. TypeError for anything else.
    """
    if isinstance(shown, (list, tuple)):
        return "".join(f"<div>{as_html(part, alt)}</div>" for part in shown)
    if isinstance(shown, str):
        return f"<pre style='margin:0;white-space:pre-wrap'>{html.escape(shown)}</pre>"
    if isinstance(shown, Image.Image):
        file = io.BytesIO()
        shown.save(file, format="png")
        shown = file.getvalue()
    if not isinstance(shown, bytes):
        raise TypeError(f"A {type(shown).__name__} cannot be shown: return a PIL image, bytes of a GIF, or text.")
    kind = "gif" if shown.startswith(b"GIF8") else "png"
    data = base64.b64encode(shown).decode()
    return f'<img alt="{html.escape(alt, quote=True)}" src="data:image/{kind};base64,{data}">'


class Embedded:
    """Something to look at as the last line of a cell: pictures, GIFs (bytes), texts, one below another."""

    def __init__(self, *parts: Any, alt: str = "") -> None:
        self.html = as_html(list(parts), alt)

    def _repr_html_(self) -> str:
        return self.html
