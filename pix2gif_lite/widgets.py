"""Sliders: the only file that imports ipywidgets. Works with ipywidgets 7.7.1 (Colab) and 8.

Three layers, kept apart: compute (the package) -> draw (sheets.py, viz.py) -> slide (here). An `Explorer` is any function
from numbers to something to look at, with a control for each number.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from .presets import Slider


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError as error:
        raise ModuleNotFoundError("Sliders need ipywidgets: run `pip install 'pix2gif-lite[notebooks]'`.") from error
    return ipywidgets


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


class Explorer:
    """A drawing function with a control for each of its arguments; shown by being the last line of a cell.

    draw      called with one keyword a control; returns what `as_html` takes
    controls  a `Slider` of presets.py (a slider), a sequence of choices (a menu), or a bool (a check box), by name
    live      redraw while a slider is dragged; False: when it is let go, for what takes longer than a blink

    An error that `draw` raises is shown as one sentence and the controls stay usable. `explorer.set(m=11)` moves controls
    as a hand would and returns what was drawn; `explorer.shown` is what is on screen, or raises what `draw` raised.
    """

    def __init__(self, draw: Callable[..., Any], live: bool = True, alt: str = "", **controls: Any) -> None:
        w = _ipywidgets()
        self.draw, self.alt = draw, alt
        self.controls = {name: _control(w, name, what, live) for name, what in controls.items()}
        self.view = w.HTML()
        self.box = w.VBox([*self.controls.values(), self.view])
        self._error: Exception | None = None
        self._shown: Any = None
        self._paused = False
        for control in self.controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()

    @property
    def values(self) -> dict[str, Any]:
        """What each control stands at."""
        return {name: control.value for name, control in self.controls.items()}

    @property
    def shown(self) -> Any:
        """What `draw` returned last; raises what it raised instead."""
        if self._error is not None:
            raise self._error
        return self._shown

    def set(self, **values: Any) -> Any:
        """Move controls, draw once, and return what was drawn. Raises what `draw` raised, KeyError for an unknown name."""
        self._paused = True
        try:
            for name, value in values.items():
                self.controls[name].value = value
        finally:
            self._paused = False
        self._redraw()
        return self.shown

    def _redraw(self, change: Any = None) -> None:
        if self._paused:
            return
        try:
            self._shown, self._error = self.draw(**self.values), None
            self.view.value = as_html(self._shown, self.alt)
        except Exception as error:  # shown to whoever moved the slider, and raised to whoever asks for `shown`
            self._error = error
            self.view.value = f"<p style='color:#b3261e'>{html.escape(str(error) or type(error).__name__)}</p>"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)


def _control(w: Any, name: str, what: Any, live: bool) -> Any:
    if isinstance(what, bool):
        return w.Checkbox(value=what, description=name, indent=False)
    if isinstance(what, Slider):
        whole = all(float(v).is_integer() for v in (what.minimum, what.maximum, what.step, what.default))
        kind, number = (w.IntSlider, int) if whole else (w.FloatSlider, float)
        limits = {"min": number(what.minimum), "max": number(what.maximum), "step": number(what.step)}
        control = kind(value=number(what.default), description=name, continuous_update=live, **limits)
        control.description_tooltip = f"{what.help} ({what.unit})" if what.unit else what.help
        return control
    if isinstance(what, Sequence) and not isinstance(what, str):
        return w.Dropdown(options=list(what), value=what[0], description=name)
    raise TypeError(f"The control {name!r} is a {type(what).__name__}: give a Slider, a list of choices or a bool.")
