"""The studio's controls and where they stand, made of whichever ipywidgets is handed in (7.7.1 or 8). They do nothing yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..presets import SLIDERS, Slider
from .curves import CUSTOM, LISTS

HAND = 10_000  # steps: no hand sets a slider of more, so it becomes a box for a number
INPUTS = 440  # px, width of the column of controls
GUIDANCE = ("s_T", "s_I", "steps", "seed", "fps")  # what stands under "Guidance and sampling"


def control(w: Any, name: str, what: Any, live: bool) -> Any:
    """The control of a `Slider`, a sequence of choices (a menu) or a bool (a check box); `live`: it reports while dragged.

    Raises TypeError for anything else.
    """
    if isinstance(what, bool):
        return w.Checkbox(value=what, description=name, indent=False)
    if isinstance(what, Slider):
        whole = all(float(v).is_integer() for v in (what.minimum, what.maximum, what.step, what.default))
        kind, number = (w.IntSlider, int) if whole else (w.FloatSlider, float)
        if whole and what.maximum - what.minimum > HAND * what.step:
            kind, live = w.BoundedIntText, False
        limits = {"min": number(what.minimum), "max": number(what.maximum), "step": number(what.step)}
        made = kind(value=number(what.default), description=name, continuous_update=live, **limits)
        made.description_tooltip = f"{what.help} ({what.unit})" if what.unit else what.help
        return made
    if isinstance(what, Sequence) and not isinstance(what, str):
        return w.Dropdown(options=list(what), value=what[0], description=name)
    raise TypeError(f"The control {name!r} is a {type(what).__name__}: give a Slider, a list of choices or a bool.")


class StudioControls:
    """All that can be moved or read in the studio, and `box`, which holds it in the order input, motion, guidance, view.

    picture, gallery, upload, caption, ideas         what to move
    motion, reading, frames, curve, custom           how far
    how                                              guidance and sampling, by name
    make, stop, progress, status                     the work
    view, details, style                             what came of it; a style sheet that paints the gallery
    """

    def __init__(self, w: Any, pictures: Sequence[str]) -> None:
        self._w = w
        full, wrap = w.Layout(width="97%"), w.Layout(display="flex", flex_flow="row wrap")
        rest = w.Layout(flex="1 1 0%", width="auto", min_width="0")  # what the others of its row leave
        self.gallery, self.ideas = w.Box(layout=wrap), w.Box(layout=wrap)
        self.picture = w.Dropdown(options=list(pictures), value=pictures[0], description="picture", layout=rest)
        self.upload = w.FileUpload(accept="image/*", multiple=False, description="Upload", layout=w.Layout(width="120px"))
        self.upload.tooltip = "PNG, JPEG, WebP or GIF of at most 10 MB"  # what a Jupyter server lets through
        self.caption = w.Text(description="caption", placeholder="what moves, and how", continuous_update=False, layout=full)
        self.motion = control(w, "motion", SLIDERS["motion"], live=True)
        self.frames = control(w, "frames", SLIDERS["frames"], live=True)
        self.curve = w.Dropdown(options=list(LISTS), description="curve")
        self.custom = w.Text(value=CUSTOM, description="custom", continuous_update=False, disabled=True)
        self.how = {name: control(w, name, SLIDERS[name], live=False) for name in GUIDANCE}
        self.make = w.Button(description="Make", button_style="primary", icon="play", layout=w.Layout(width="110px"))
        self.stop = w.Button(description="Stop", icon="stop", disabled=True, layout=w.Layout(width="110px"))
        self.progress = w.FloatProgress(min=0, max=1, layout=rest)
        for slider in (self.motion, self.frames, *self.how.values()):
            slider.layout = full
        self.reading, self.status, self.view, self.details, self.style = (w.HTML() for _ in range(5))
        more = w.Accordion(children=[w.VBox([self.frames, self.curve, self.custom]), w.VBox(list(self.how.values()))])
        for k, title in enumerate(("Frames and curve", "Guidance and sampling")):
            more.set_title(k, title)
        more.selected_index, more.layout.width = None, "97%"
        what = [self.gallery, w.HBox([self.picture, self.upload], layout=full), self.caption, self.ideas]
        work = [w.HBox([self.make, self.stop, self.progress], layout=full), self.status]
        inputs = w.VBox([*what, self.motion, self.reading, more, *work], layout=w.Layout(width=f"{INPUTS}px"))
        self.box = w.VBox([self.style, w.Box([inputs, self.view], layout=wrap), self.details])
        self.box.add_class("pix2gif-studio")
        self.gallery.add_class("pix2gif-gallery")

    def start_at(self, values: Mapping[str, float], fixed: Iterable[str] = ()) -> None:
        """Put some of the controls of `how` where the weights want them, and hold those still that they leave no choice."""
        for name, value in values.items():
            self.how[name].value = value
        for name in fixed:
            self.how[name].disabled = True

    def suggest(self, captions: Iterable[str]) -> None:
        """One button a caption, which puts it into the caption box."""
        self.ideas.children = [self._setter(caption, caption, self.caption, caption) for caption in captions]

    def hang(self, pictures: Iterable[str], mark: str) -> None:
        """One button a picture, which chooses it; `panel.gallery` paints button k by its class `mark`-k."""
        tiles = [self._setter("", name, self.picture, name) for name in pictures]
        for k, tile in enumerate(tiles):
            tile.add_class(f"{mark}-{k}")
        self.gallery.children = tiles

    def _setter(self, label: str, tip: str, target: Any, value: str) -> Any:
        button = self._w.Button(description=label, tooltip=tip, layout=self._w.Layout(width="auto"))
        button.on_click(lambda _: setattr(target, "value", value))
        return button
