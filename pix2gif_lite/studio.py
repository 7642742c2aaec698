"""What stands behind the sliders: requests become previews and GIFs, newest first, each computed once. No widgets here.

Request --> preview   D(z_W) at the largest motion: the warp alone, one frame, no UNet
        \\-> Made      the real frames, as a GIF, with their motion measured
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .canvas import to_pil, to_source, to_tensor
from .pictures import open_image
from .pipeline import Pix2GifPipeline
from .result import Pix2GifOutput
from .scenes import sample_scenes
from .sheets import contact_sheet
from .text import motion_prompt, tokenize

KEPT = 32  # GIFs kept in memory


@dataclass(frozen=True)
class Request:
    """Everything that decides a GIF, so that equal requests are equal GIFs."""

    picture: str  # a name in `Studio.pictures`
    caption: str
    motions: tuple[float, ...]
    seed: int = 0
    s_T: float = 1.0
    s_I: float = 1.0
    steps: int = 2
    fps: float = 4
    loop: str = "pingpong"


@dataclass
class Made:
    """A GIF and what is known of it."""

    request: Request
    out: Pix2GifOutput
    gif: bytes
    measured: list[float]  # of each frame, px at 256 x 256

    @property
    def sheet(self) -> Image.Image:
        """All frames side by side, with the motion asked for above and the motion measured."""
        pairs = zip(self.out.motions, self.measured, strict=True)
        return contact_sheet([self.out.frames], column_labels=[f"{a:g} > {b:.1f}" for a, b in pairs], size=112)

    def encoded(self, suffix: str) -> bytes:
        """The animation as the bytes of a ".gif", ".webp" or ".mp4" file."""
        with tempfile.TemporaryDirectory() as folder:
            r = self.request
            return Path(self.out.save(Path(folder) / f"out{suffix}", r.fps, r.loop)).read_bytes()

    @property
    def code(self) -> str:
        """The line of Python that makes this GIF again."""
        r = self.request
        scales = f"s_T={r.s_T:g}, s_I={r.s_I:g}"
        return f"pipe(image, {r.caption!r}, motion={list(r.motions)}, seed={r.seed}, steps={r.steps}, {scales})"


class Studio:
    """Pictures by name, and GIFs of them. `pipe`: a pipeline (None: the shipped weights, loaded when first needed)."""

    def __init__(self, pipe: Pix2GifPipeline | None = None, scenes: int = 8) -> None:
        self._pipe = pipe
        self.pictures: dict[str, Image.Image] = {}
        self.captions: dict[str, str] = {}  # what suits each picture
        for scene in sample_scenes(scenes, "test", seed=11):
            name = f"{len(self.pictures) + 1}: {scene.caption}"
            self.pictures[name] = to_pil(scene.at(0, 256).image[0])
            self.captions[name] = scene.caption
        self._made: OrderedDict[Request, Made] = OrderedDict()
        self._latents: dict[str, torch.Tensor] = {}

    @property
    def pipe(self) -> Pix2GifPipeline:
        if self._pipe is None:
            self._pipe = Pix2GifPipeline.from_pretrained("lite")
        return self._pipe

    def add_upload(self, name: str, data: bytes) -> str:
        """A picture that a user sent, by its name here. Raises ValueError where it is none that can be opened."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload{Path(name).suffix[:8]}"
            path.write_bytes(data)
            try:
                picture = open_image(path)
            except (ValueError, OSError) as error:
                raise ValueError(str(error).replace(str(path), name)) from None
        self.pictures[name] = picture
        self.captions.setdefault(name, "")
        self._latents.pop(name, None)
        for request in [r for r in self._made if r.picture == name]:
            del self._made[request]
        return name

    @torch.inference_mode()
    def preview(self, request: Request) -> Image.Image | None:
        """D(z_W) at the largest motion: what the warp alone makes of it. None for weights without a warp, or no motion."""
        m, pipe = max(request.motions), self.pipe
        if m == 0 or pipe.flow_net is None or not request.caption.strip():
            return None
        if request.picture not in self._latents:
            side = pipe.config.image_size
            work = to_source(self.pictures[request.picture]).resize((side, side), Image.Resampling.LANCZOS)
            picture = to_tensor(work).to(pipe.unet.device, pipe.vae.dtype)
            self._latents[request.picture] = pipe.vae.encode(picture).latent_dist.mode()
        scale = pipe.vae.config.scaling_factor if pipe.config.scale_image_latents else 1.0
        ids = tokenize(pipe.tokenizer, [motion_prompt(request.caption, m)]).to(pipe.unet.device)
        c_L = pipe.model.condition(ids, torch.tensor([m], device=pipe.unet.device))
        _, z_W = pipe.model.warp(self._latents[request.picture] * scale, c_L)
        return to_pil(pipe.vae.decode(z_W / scale).sample[0].float())

    def make(self, request: Request, callback: Callable[[dict], None] | None = None) -> Made:
        """The GIF of a request, from the cache if it was made before. Errors: those of the pipeline."""
        if request in self._made:
            self._made.move_to_end(request)
            return self._made[request]
        r = request
        options = {"seed": r.seed, "s_T": r.s_T, "s_I": r.s_I, "steps": r.steps}
        with warnings.catch_warnings():  # a curve passes through small motions on its way up
            warnings.filterwarnings("ignore", message="Motion .* is outside")
            out = self.pipe(self.pictures[r.picture], r.caption, list(r.motions), callback=callback, **options)
        made = Made(r, out, b"", out.measured())
        made.gif = made.encoded(".gif")
        self._made[r] = made
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return made


class Superseded(Exception):
    """Raised inside a piece of work whose result nobody waits for any more."""


class Newest:
    """One thread, one slot: of what is submitted while it works, only the newest is done next.

    `work(item, check)` runs in the thread; it calls `check()` now and then, which raises `Superseded` when a newer item
    waits or `stop()` was called. Superseded itself ends the work quietly.
    """

    def __init__(self, work: Callable[[Any, Callable[[], None]], None]) -> None:
        self.work = work
        self._turn = threading.Condition()
        self._waiting: list[Any] = []
        self._busy = self._stopped = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> bool:
        """Is there something newer to do?"""
        with self._turn:
            return bool(self._waiting)

    def submit(self, item: Any) -> None:
        """Do this next, instead of whatever waits or is being done."""
        with self._turn:
            self._waiting = [item]
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._turn.notify_all()

    def stop(self) -> None:
        """Give up what is being done and what waits."""
        with self._turn:
            self._waiting, self._stopped = [], self._busy

    def wait(self, seconds: float = 120) -> None:
        """Return when nothing is left to do. Raises TimeoutError after that many seconds."""
        with self._turn:
            if not self._turn.wait_for(lambda: not self._busy and not self._waiting, seconds):
                raise TimeoutError(f"Still at work after {seconds:g} s: stop it, or wait longer.")

    def _check(self) -> None:
        with self._turn:
            if self._waiting or self._stopped:
                raise Superseded

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._waiting)
                item, self._busy, self._stopped = self._waiting.pop(), True, False
            try:
                self.work(item, self._check)
            except Superseded:
                continue
            finally:
                with self._turn:
                    self._busy = False
                    self._turn.notify_all()
