"""Sliders, of ipywidgets 7.7.1 (Colab) or 8; only imported here. Compute (the package) -> draw (sheets.py) -> slide."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .reasons import reason
from .sheets import Embedded, as_html
from .sliders import panel
from .sliders.controls import StudioControls, control
from .sliders.curves import motion_list
from .sliders.newest import Newest, Superseded
from .sliders.studio import Made, Request, Studio, uploaded

__all__ = ["Embedded", "Explorer", "GifStudio", "as_html"]
SETTLE = 0.25  # s a control must rest before the real frames are made
STOPPING, TOO_LATE = "stopping after this step", "Nothing is left to stop: Make starts it again."


def _ipywidgets() -> Any:
    try:
        import ipywidgets
    except ImportError as error:
        raise ModuleNotFoundError("Sliders need ipywidgets: run `pip install 'pix2gif-lite[notebooks]'`.") from error
    return ipywidgets


class Shown:
    """Shown by being the last line of a cell."""

    box: Any

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)


class Explorer(Shown):
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
        self.controls = {name: control(w, name, what, live) for name, what in controls.items()}
        self.view = w.HTML()
        self.box = w.VBox([*self.controls.values(), self.view])
        self._error: Exception | None = None
        self._shown: Any = None
        self._paused = False
        for each in self.controls.values():
            each.observe(self._redraw, names="value")
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
            self.view.value = panel.sentence(str(error) or type(error).__name__, bad=True)


class GifStudio(StudioControls, Shown):
    """A picture, a caption and a motion slider become a GIF; shown by being the last line of a cell.

    Whatever control moves, the frame that moves most is shown at once (`Studio.glimpse`), and all frames when the control
    rests; while one is made, the newest place of a control waits and those between are skipped. `compute`: a `studio.Studio`
    (None: one of the shipped weights). A cell or a test moves the controls as a hand would and calls `wait()`; `made` is the
    last GIF, `error` the sentence that says why there is no newer one, or "".
    """

    def __init__(self, compute: Studio | None = None) -> None:
        self.compute = compute or Studio()
        super().__init__(_ipywidgets(), list(self.compute.pictures))
        self.start_at(self.compute.defaults, self.compute.fixed)
        self.made: Made | None = None
        self.error, self._quiet, self._mark = "", False, f"pix2gif-{id(self):x}"
        self.worker = Newest(self._work, self._busy)
        self.hang(self.compute.pictures, self._mark)
        self._suit()
        for each in (self.caption, self.motion, self.frames, self.curve, self.custom, *self.how.values()):
            each.observe(self._moved, names="value")
        self.picture.observe(lambda change: None if self._quiet else self._suit(), names="value")
        self.upload.observe(lambda change: self.take(self.upload.value), names="value")
        self.make.on_click(self._again)
        self.stop.on_click(self._give_up)

    @property
    def request(self) -> Request:
        """What the controls stand at. Raises ValueError for a custom list that cannot be read."""
        motions = motion_list(self.curve.value, self.motion.value, self.frames.value, self.custom.value)
        loop = "forward" if self.curve.value == "pingpong" else "pingpong"
        values = {name: each.value for name, each in self.how.items()}
        return Request(self.picture.value, self.caption.value, tuple(motions), loop=loop, **values)

    def ask(self) -> None:
        """Make what the controls say, in the background; whatever is being made is given up."""
        try:
            self.worker.submit(self.request)
        except ValueError as error:
            self.worker.submit(error)

    def wait(self, seconds: float = 120) -> GifStudio:
        """Return when nothing is left to do. Raises TimeoutError after that many seconds."""
        self.worker.wait(seconds)
        return self

    def take(self, files: Any) -> None:
        """Take a picture from the value of a FileUpload, of ipywidgets 7 or 8."""
        if (file := uploaded(files)) is None:
            return
        try:
            name = self.compute.add_upload(*file)
        except ValueError as error:
            self.worker.submit(error)
            return
        self._quiet = True
        self.picture.options = list(self.compute.pictures)
        self.picture.value = name
        self.hang(self.compute.pictures, self._mark)
        self._suit()

    def _work(self, asked: Any, check: Callable[..., None]) -> None:
        """In the worker's thread: a request, or the error that stood in its way."""
        try:
            self.error = ""
            if isinstance(asked, Exception):
                raise asked
            if not asked.caption.strip() and not self.compute.captions[asked.picture]:  # just uploaded
                remarks = self.compute.remarks.get(asked.picture, [])
                self.reading.value = self.details.value = ""
                self.view.value = panel.stage(self.compute.pictures[asked.picture], "your picture", "your picture")
                self._say(" ".join([*remarks, "Now say what moves in it, or take a suggestion."]))
                return
            if (made := self.compute.known(asked)) is None:
                made = self._make(asked, check)
            self._show(made, f"{len(made.out.frames)} frames made")
            self.made, self.progress.value = made, 1  # after it: what cannot be shown is not gone back to
            self._say(" ".join(made.notes) or f"made in {sum(made.out.timings.values()):.1f} s")
        except Superseded:
            if not self.worker.waiting:
                self._back("stopped: Make starts it again")
            raise
        except Exception as error:  # one sentence for whoever moved the slider; the controls stay usable
            self.error = reason(error)
            self._back(self.error, bad=True)

    def _make(self, asked: Request, check: Callable[..., None]) -> Made:
        """One frame at once; all of them when no control has moved for a moment."""
        self.progress.value = 0
        self._say("one frame" if self.compute.loaded else "loading the weights")
        if (seen := self.compute.glimpse(asked)) is not None:
            self.reading.value = panel.reading(max(asked.motions))
            self.view.value = panel.stage(seen.png, seen.words, seen.words)
        check(SETTLE)
        first: list[float] = []  # when the first step was done, and the share of the work that it was

        def advance(state: dict) -> None:
            check()
            now, done = time.perf_counter(), state["progress"]
            self.progress.value = done
            left = f", about {(now - first[0]) * (1 - done) / (done - first[1]):.0f} s left" if first else ""
            first[:] = first or [now, done]
            self._say(f"step {state['i'] + 1} of {state['n']}{left}")

        return self.compute.make(asked, advance)

    def _show(self, made: Made, below: str) -> None:
        self.view.value = panel.stage(made.gif, f"GIF: {made.request.caption}", below)
        self.reading.value = panel.reading(*made.top)
        self.details.value = panel.details(made)

    def _back(self, words: str, bad: bool = False) -> None:
        """Nothing new came of it: the last GIF again, so that stage, reading and downloads speak of the same one."""
        self.progress.value = 0
        if self.made is not None:
            self._show(self.made, "the last GIF")
        self._say(words, bad)

    def _say(self, words: str, bad: bool = False) -> None:
        self.status.value = panel.sentence(words, bad)

    def _busy(self, busy: bool) -> None:
        self.make.disabled, self.stop.disabled = busy, not busy
        if not busy and STOPPING in self.status.value:  # the click came after the last sentence about the work
            self._say(TOO_LATE)

    def _again(self, button: Any) -> None:
        if self.worker.busy:  # a click that was on its way when the button was disabled
            self._say("Still at work: wait for it, or press Stop.")
        else:
            self.ask()

    def _give_up(self, button: Any) -> None:
        if self.worker.busy:
            self._say(STOPPING)
            if not self.worker.stop():  # it ended between the two: nothing else would take that sentence away
                self._say(TOO_LATE)

    def _moved(self, change: Any) -> None:
        own = self.curve.value == "custom"
        self.custom.disabled, self.motion.disabled, self.frames.disabled = not own, own, own
        if not self._quiet:
            self.ask()

    def _suit(self) -> None:
        """The caption and the suggestions that suit the picture; then make it."""
        name = self.picture.value
        self._quiet = True
        self.caption.value = self.compute.captions[name]
        self._quiet = False
        self.suggest(self.compute.ideas(name))
        self.style.value = panel.gallery(self.compute.pictures, name, self._mark)
        self.ask()
