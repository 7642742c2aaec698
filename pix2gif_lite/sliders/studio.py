"""What stands behind the sliders: requests become frames and GIFs, each computed once. No widgets and no HTML here.

Request --> Glimpse   the frame of the largest motion, at once (live.py); where that takes many steps, the warp alone, D(z_W)
        \\-> Made      all frames, as a GIF, with their motion measured
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from PIL import Image

from ..canvas import to_pil
from ..gifs import encode_animation
from ..live import Live
from ..media.pictures import open_upload
from ..pipeline import Pix2GifPipeline
from ..presets import LITE
from ..request import check_motions
from ..result import Pix2GifOutput
from ..sheets import contact_sheet
from .gallery import IDEAS, gallery, suggestions

KEPT = 200_000_000  # bytes of frames kept in memory; the newest GIF is kept whatever its size
LIVE_STEPS = 4  # denoising steps that a frame may take while a slider is dragged
LARGEST = 512  # px, longest side of an uploaded picture here: its GIF has to travel to a browser
SCALED = """from PIL import Image
from pix2gif_lite.media.pictures import open_image

image = open_image({name!r})
image.thumbnail(({side}, {side}), Image.Resampling.LANCZOS)
"""  # what `Studio.add_upload` does to a larger one


@dataclass(frozen=True)
class Request:
    """Everything that decides a GIF, so that equal requests are equal GIFs."""

    picture: str  # a name in `Studio.pictures`
    caption: str
    motions: tuple[float, ...]
    seed: int = 0
    s_T: float = 1.0
    s_I: float = 1.0
    steps: int = LITE.sampling_steps
    fps: float = 4
    loop: str = "pingpong"


@dataclass
class Made:
    """A GIF and what is known of it."""

    request: Request
    out: Pix2GifOutput
    measured: list[float]  # of each frame, px at 256 x 256
    notes: list[str]  # what there is to say of the request, in sentences
    scaled: bool = False  # an upload larger than `LARGEST`
    _files: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def top(self) -> tuple[float, float]:
        """The largest motion asked for, and what was measured in that frame, px at 256 x 256."""
        k = max(range(len(self.measured)), key=lambda k: self.out.motions[k])
        return self.out.motions[k], self.measured[k]

    @property
    def sheet(self) -> Image.Image:
        """All frames, eight a row, each under the motion asked for > the motion measured."""
        rows = [self.out.frames[k : k + 8] for k in range(0, len(self.out.frames), 8)]
        if len(rows) == 1:
            pairs = zip(self.out.motions, self.measured, strict=True)
            return contact_sheet(rows, column_labels=[f"{a:.3g} > {b:.1f} px" for a, b in pairs], size=112)
        ends = [(k, min(k + 7, len(self.measured) - 1)) for k in range(0, len(self.measured), 8)]
        labels = [" to ".join(f"{self.out.motions[k]:.3g} > {self.measured[k]:.1f} px" for k in pair) for pair in ends]
        return contact_sheet(rows, labels, size=112)

    @property
    def size(self) -> int:
        """Bytes of its frames in memory."""
        return sum(frame.width * frame.height * 3 for frame in self.out.frames)

    @property
    def gif(self) -> bytes:
        """The animation as a GIF."""
        return self.encoded(".gif")

    def encoded(self, suffix: str) -> bytes:
        """The animation as the bytes of a ".gif", ".webp" or ".mp4" file; an mp4 needs PyAV."""
        if suffix not in self._files:
            self._files[suffix] = encode_animation(self.out.frames, suffix, self.request.fps, self.request.loop)
        return self._files[suffix]

    @property
    def code(self) -> str:
        """The Python that makes this GIF again."""
        r = self.request
        scales = f"s_T={r.s_T:g}, s_I={r.s_I:g}"
        motions = [int(m) if m == int(m) else m for m in r.motions]  # 8 reads better than 8.0 and is the same
        call = f"pipe(image, {r.caption!r}, motion={motions}, seed={r.seed}, steps={r.steps}, {scales})"
        before = SCALED.format(name=r.picture, side=LARGEST) if self.scaled else ""
        return f'{before}{call}.save("mine.gif", fps={r.fps:g}, loop={r.loop!r})'


class Glimpse(NamedTuple):
    """One frame, shown while a slider is dragged."""

    png: bytes
    words: str  # what it is
    real: bool  # the model's own frame, not the warp alone


class Studio:
    """Pictures by name, and GIFs of them. `pipe`: a pipeline (None: the shipped weights, loaded when first needed)."""

    def __init__(self, pipe: Pix2GifPipeline | None = None, scenes: int = 8) -> None:
        self._pipe = pipe
        self.pictures: dict[str, Image.Image] = {}
        self.captions: dict[str, str] = {}  # what suits each picture; "" for a stranger's
        self.remarks: dict[str, list[str]] = {}  # what was decided about an upload, in sentences
        self._ideas: dict[str, tuple[str, ...]] = {}
        for scene in gallery(scenes):
            name = f"{len(self.pictures) + 1}: {scene.caption}"
            self.pictures[name] = to_pil(scene.at(0, 256).image[0])
            self.captions[name] = scene.caption
            self._ideas[name] = suggestions(scene)
        self._scaled: set[str] = set()
        self._lock = threading.Lock()  # around pictures and GIFs: an upload comes from another thread than `make`
        self._made: OrderedDict[Request, Made] = OrderedDict()
        self._live: Live | None = None

    @property
    def loaded(self) -> bool:
        """Are the weights in memory?"""
        return self._pipe is not None

    @property
    def pipe(self) -> Pix2GifPipeline:
        if self._pipe is None:
            self._pipe = Pix2GifPipeline.from_pretrained("lite")
        return self._pipe

    @property
    def defaults(self) -> dict[str, float]:
        """What the weights in memory are asked by unless told otherwise; nothing before they are there."""
        names = {"steps": "sampling_steps", "s_T": "s_T", "s_I": "s_I"}
        return {ours: getattr(self.pipe.config, theirs) for ours, theirs in names.items()} if self.loaded else {}

    @property
    def fixed(self) -> tuple[str, ...]:
        """Of these, what the weights in memory leave no choice: distilled ones take no guidance, and few step counts."""
        return ("steps", "s_T", "s_I") if self.loaded and self.pipe.config.distilled_steps is not None else ()

    def ideas(self, picture: str) -> tuple[str, ...]:
        """Captions that suit a picture."""
        return self._ideas.get(picture, IDEAS)

    def spelt(self, caption: str) -> list[str]:
        """The words of a caption that the tokenizer can only spell in pieces: training never needed them."""
        words = dict.fromkeys(re.findall(r"[^\W\d_]+|[\U0001F000-\U0001FAFF]", caption))  # or an emoji
        return [word for word in words if len(self.pipe.tokenizer.tokenize(word)) > 1]

    def add_upload(self, name: str, data: bytes) -> str:
        """A picture that a user sent, by its name here, at most `LARGEST` px a side. Raises ValueError where it is none
        that can be opened; nothing is written to the disk."""
        picture, remarks = open_upload(data, name)
        if scaled := max(picture.size) > LARGEST:
            before = picture.size
            picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
            size = " x ".join(map(str, picture.size))
            remarks.append(f"{name} is scaled down from {before[0]} x {before[1]} to {size} px.")
        with self._lock:
            self.pictures[name], self.remarks[name] = picture, remarks
            self.captions.setdefault(name, "")
            (self._scaled.add if scaled else self._scaled.discard)(name)
            for request in [r for r in self._made if r.picture == name]:
                del self._made[request]
        return name

    def glimpse(self, request: Request) -> Glimpse | None:
        """The frame of the largest motion, or the warp alone, soon; None where nothing moves, nothing is said of it, or
        weights without a warp take many steps. Errors: the pipeline's."""
        r, m = request, max(check_motions(request.motions, self.pipe.motion_rows))
        if m == 0 or not r.caption.strip():
            return None
        if self._live is None:
            self._live = Live(self.pipe)  # checks what it is given, as the pipeline does
        picture = self.pictures[r.picture]
        if r.steps > LIVE_STEPS:
            if not self._live.model.uses_warp:
                return None
            return Glimpse(self._live.warped(picture, r.caption, m), f"the warp alone at {m:g} px, D(z_W)", False)
        began = time.perf_counter()
        png = self._live.png(picture, r.caption, m, r.seed, steps=r.steps, s_T=r.s_T, s_I=r.s_I)
        return Glimpse(png, f"the frame of {m:g} px, made in {1000 * (time.perf_counter() - began):.0f} ms", True)

    def known(self, request: Request) -> Made | None:
        """The GIF of a request, if it was made before."""
        with self._lock:
            if request in self._made:
                self._made.move_to_end(request)
            return self._made.get(request)

    def make(self, request: Request, callback: Callable[[dict], None] | None = None) -> Made:
        """The GIF of a request, from the cache if it was made before. Errors: those of the pipeline."""
        if (made := self.known(request)) is not None:
            return made
        r = request
        with self._lock:
            picture, scaled = self.pictures[r.picture], r.picture in self._scaled
            same = next((m for q, m in self._made.items() if replace(q, fps=r.fps, loop=r.loop) == r), None)
        if same is not None:  # the same frames at another speed
            made = Made(r, same.out, same.measured, same.notes, scaled)
        else:
            options = {"seed": r.seed, "s_T": r.s_T, "s_I": r.s_I, "steps": r.steps}
            out = self.pipe(picture, r.caption, list(r.motions), callback=callback, quiet=True, **options)
            notes = list(out.notes)
            if strange := self.spelt(r.caption):
                notes.append(f"The model has no word of its own for {', '.join(strange)}: what that moves is a guess.")
            made = Made(r, out, out.measured(), notes, scaled)
        made.encoded(".gif")  # so that what cannot be saved is refused here, and not kept
        with self._lock:
            if self.pictures[r.picture] is picture:  # else another one was uploaded under that name meanwhile
                self._made[r] = made
            while len(self._made) > 1 and sum(each.size for each in self._made.values()) > KEPT:
                self._made.popitem(last=False)
        return made


def uploaded(files: Any) -> tuple[str, bytes] | None:
    """Name and bytes of what a FileUpload holds, its newest file: {name: {"content": ..}} in ipywidgets 7, a tuple of
    dictionaries in 8. None if it holds nothing."""
    if not files:
        return None
    if isinstance(files, dict):
        name, file = list(files.items())[-1]
        return str(name), bytes(file["content"])
    return str(files[-1]["name"]), bytes(files[-1]["content"])
