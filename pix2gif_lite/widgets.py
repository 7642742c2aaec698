"""Sliders, of ipywidgets 7.7.1 (Colab) or 8; only imported here. Compute (the package) -> draw (sheets.py) -> slide."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Callable, Sequence
from typing import Any

from .curves import CURVES, motion_curve
from .presets import SLIDERS, Slider
from .request import check_motions, parse_motions
from .sheets import Embedded, as_html
from .studio import Newest, Request, Studio, Superseded

__all__ = ["Embedded", "Explorer", "GifStudio", "as_html"]


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError as error:
        raise ModuleNotFoundError("Sliders need ipywidgets: run `pip install 'pix2gif-lite[notebooks]'`.") from error
    return ipywidgets


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


class GifStudio:
    """A picture, a caption and a motion slider become a GIF; shown by being the last line of a cell.

    While the slider is dragged the warp alone is shown (D(z_W), `Studio.preview`), then the real frames as soon as they
    are there. `compute`: a `studio.Studio` (None: one of the shipped weights). `wait()` returns when nothing is left to do,
    so that a cell or a test can move the controls as a hand would; `made` is the GIF on screen, `error` the sentence.
    """

    def __init__(self, compute: Any = None) -> None:
        w = self._w = _ipywidgets()
        self.compute = compute or Studio()
        self.made: Any = None
        self.error = ""
        names = list(self.compute.pictures)
        wide = w.Layout(width="98%")
        self.picture = w.Dropdown(options=names, value=names[0], description="picture", layout=wide)
        self.upload = w.FileUpload(accept="image/*", multiple=False, description="your own")
        self.caption = w.Combobox(
            description="caption", layout=wide, placeholder="what moves, and how", continuous_update=False
        )
        self.motion = _control(w, "motion", SLIDERS["motion"], True)
        self.frames = _control(w, "frames", SLIDERS["frames"], False)
        self.curve = w.Dropdown(options=[*CURVES, "custom"], description="curve")
        self.custom = w.Text(value="2,4,6,8,11,13,16,19", description="custom", continuous_update=False)
        self.how = {name: _control(w, name, SLIDERS[name], False) for name in ("s_T", "s_I", "steps", "seed", "fps")}
        self.make, self.stop = w.Button(description="Make", button_style="primary"), w.Button(description="Stop", disabled=True)
        self.progress = w.FloatProgress(min=0, max=1, layout=w.Layout(width="180px"))
        self.status, self.still, self.view = w.HTML(), w.HTML(), w.HTML()
        more = w.Accordion(children=[w.VBox([self.frames, self.curve, self.custom]), w.VBox(list(self.how.values()))])
        for k, title in enumerate(("Frames and curve", "Guidance and sampling")):
            more.set_title(k, title)
        more.selected_index = None
        row = w.HBox([self.make, self.stop, self.progress, self.status])
        left = w.VBox([w.HBox([self.picture, self.upload]), self.caption, self.motion, more, row])
        self.box = w.VBox([left, w.HBox([self.still, self.view])])
        self.worker = Newest(self._work)
        self._suit()
        self.picture.observe(lambda change: (self._suit(), self.ask()), names="value")
        self.upload.observe(lambda change: self.take(self.upload.value), names="value")
        self.make.on_click(lambda button: self.ask())
        self.stop.on_click(lambda button: self._give_up())
        for control in (self.caption, self.motion, self.frames, self.curve, self.custom, *self.how.values()):
            control.observe(lambda change: self.ask(), names="value")
        self.ask()

    @property
    def request(self) -> Any:
        """What the controls stand at, as a `studio.Request`. Raises ValueError for a custom list that cannot be read."""
        if self.curve.value == "custom":
            motions = check_motions(parse_motions(self.custom.value))
        else:
            motions = motion_curve(self.curve.value, self.motion.value, self.frames.value)
        loop = "forward" if self.curve.value == "pingpong" else "pingpong"
        values = {name: control.value for name, control in self.how.items()}
        return Request(self.picture.value, self.caption.value, tuple(motions), loop=loop, **values)

    def ask(self) -> None:
        """Make what the controls say, in the background; whatever is being made is given up."""
        try:
            request = self.request
        except ValueError as error:
            self._say(str(error))
            return
        self.make.disabled, self.stop.disabled = True, False
        self.worker.submit(request)

    def wait(self, seconds: float = 120) -> GifStudio:
        """Return when nothing is left to do. Raises TimeoutError after that many seconds."""
        self.worker.wait(seconds)
        return self

    def _work(self, request: Any, check: Callable[[], None]) -> None:
        began, self.error = time.perf_counter(), ""

        def advance(state: dict) -> None:
            check()
            left = (time.perf_counter() - began) * (1 / state["progress"] - 1)
            self.progress.value = state["progress"]
            self.status.value = f"step {state['i'] + 1} of {state['n']}, {left:.1f} s left"

        try:
            self.status.value, self.progress.value = "warping", 0.0
            if (preview := self.compute.preview(request)) is not None:
                self.still.value = as_html(["now, the warp alone", preview.resize((192, 192))], "preview: the warped picture")
            check()
            self.made = made = self.compute.make(request, advance)
            self._show(made)
            self.progress.value = 1.0
            self.status.value = f"{len(made.out.frames)} frames, {time.perf_counter() - began:.1f} s"
        except Superseded:
            self.status.value = "stopped"
            raise
        except Exception as error:  # one sentence for whoever moved the slider; the controls stay usable
            self._say(str(error) or type(error).__name__)
        finally:
            if not self.worker.waiting:
                self.make.disabled, self.stop.disabled = False, True

    def _show(self, made: Any) -> None:
        top = max(range(len(made.measured)), key=lambda k: made.out.motions[k])
        said = f"asked {made.out.motions[top]:g} px, measured {made.measured[top]:.1f} px (at 256 x 256)"
        links = _link(made.gif, ".gif", "image/gif") + " " + _link(made.encoded(".mp4"), ".mp4", "video/mp4")
        gif = as_html(made.gif, f"GIF: {made.request.caption}").replace("<img ", "<img width=256 ")
        words = f"<b>{said}</b><br>{links}<pre style='white-space:pre-wrap'>{html.escape(made.code)}</pre>"
        self.view.value = gif + words + as_html(made.sheet, "all frames, motion asked > measured")

    def _give_up(self) -> None:
        self.worker.stop()
        self.make.disabled, self.stop.disabled, self.status.value = False, True, "stopped"

    def _say(self, sentence: str) -> None:
        self.error = sentence
        self.status.value = f"<span style='color:#b3261e'>{html.escape(sentence)}</span>"

    def _suit(self) -> None:
        own = self.compute.captions.get(self.picture.value, "")
        self.caption.options = list(dict.fromkeys([own, *self.compute.captions.values()]))
        self.caption.value = own

    def take(self, files: Any) -> None:
        """A picture from a FileUpload's value: a dict in ipywidgets 7, a tuple in 8."""
        if not files:
            return
        if isinstance(files, dict):  # ipywidgets 7: {name: {"content": bytes}}
            name, data = next((name, file["content"]) for name, file in files.items())
        else:  # ipywidgets 8: ({"name": ..., "content": memoryview},)
            name, data = files[0]["name"], bytes(files[0]["content"])
        try:
            self.compute.add_upload(name, data)
        except ValueError as error:
            self._say(str(error))
            return
        self.picture.options = list(self.compute.pictures)
        self.picture.value = name

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)


def _link(data: bytes, suffix: str, kind: str) -> str:
    text = base64.b64encode(data).decode()
    return f'<a download="pix2gif{suffix}" href="data:{kind};base64,{text}">download {suffix[1:]}</a>'
