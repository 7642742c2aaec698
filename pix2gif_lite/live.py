"""The picture while the slider moves: one frame, with all that the last one already worked out.

    picture           -- E, D -->  E(c_I), and the detail that E and D lose      once a picture
    caption           -- CLIP -->  c_T, of every motion a slider stands at       once a caption, as one batch
    m                 --       ->  c_L, F, z_W, UNet x steps, D, detail, PNG     at every move

It is the pipeline's own frame, made by the same functions from the same noise, and not a preview: what is kept is what two
moves have in common. `pix2gif-lite bench` counts and times what is left.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .branches import make_branches
from .calibration import corners_of
from .canvas import lost_detail, to_pil, to_source
from .diffusion import alphas_cumprod, sigmas_for
from .distilled import check_distilled
from .fast.direct_decoder import DirectDecoder
from .fast.direct_unet import DirectUNet
from .fast.kept import Kept
from .fast.one_picture import OnePicture
from .frames import KEPT_TEXTS, Order, decode_frames, encode_texts, look_again, sample_latents
from .guidance import needed_predictions
from .hardware import choose_precision, out_of_memory
from .media.png import packed
from .pipeline import ADVICE, Pix2GifPipeline
from .presets import MOTION_MAX
from .request import check_motions, check_scales, check_seed
from .result import Clock
from .second_look import SecondLook
from .text import NULL_PROMPT, motion_prompt

KEPT_CASES = 1000
MOST_UNSEEN, UNSEEN = 3, 0.15  # of 255 grey levels: what two pictures may differ by, most and on average. JPEG: tenfold
KEPT_SOURCES, KEPT_FRAMES = 100_000_000, 50_000_000  # bytes


class Source(NamedTuple):
    """What every frame of one picture needs."""

    E: Tensor  # E(c_I) as the UNet sees it, (1, 4, h, w)
    corners: Tensor | None  # by which the length of F is corrected; None: it is not
    extra: tuple[Tensor, Tensor] | None  # what `decode_frames` adds: the lost detail, D(E(c_I)); None without a warp
    again: SecondLook | None  # what of z_W is E's of the picture itself; None: nothing

    @property
    def size(self) -> int:
        """Bytes in memory."""
        held = (self.E, self.corners, *(self.extra or ()), self.again and self.again.picture)
        return sum(each.numel() * each.element_size() for each in held if each is not None)


class Way(NamedTuple):
    """The networks from z_W to the picture. They may round where it does not show; a warp may not: edges would move."""

    unet: DirectUNet
    vae: DirectDecoder


class Live:
    """One frame of a pipeline at a time, as `pipe(picture, caption, m)` makes it, each new one sooner.

    `bfloat16`: the UNet and D are copies that compute in it, for a CPU that does so faster; the flow and the warp stay
    float32, where places are not rounded. Without it only their convolutions multiply in it, with float32 sums, and only after
    a picture's first frame came out alike both ways (`is_alike`). The weights must not change meanwhile: make another `Live`
    for others. May be called from several threads; they take turns.
    """

    def __init__(self, pipe: Pix2GifPipeline, bfloat16: bool = False) -> None:
        self.pipe, self.bfloat16 = pipe, bfloat16
        self.model = pipe.model
        unet, vae = (copy.deepcopy(part).bfloat16() if bfloat16 else part for part in (pipe.unet, pipe.vae))
        self._exact = Way(DirectUNet(unet, fixed=True), DirectDecoder(vae))
        rounded = DirectUNet(unet, fixed=True, inside=torch.bfloat16)
        self._rounded = Way(rounded, DirectDecoder(vae, torch.bfloat16))
        if self.model.uses_warp:
            self.model.flow_net = OnePicture(pipe.flow_net)
        self._alphas_cumprod, self._sigmas = alphas_cumprod(pipe.config), {}
        self._last: tuple[Any, Hashable] = None, None  # size and pixels of a picture, and its `content`
        self._sources, self._texts, self._frames = Kept(KEPT_SOURCES), Kept(KEPT_TEXTS), Kept(KEPT_FRAMES)
        self._rounds = Kept(KEPT_CASES)  # by picture and steps: may they round?
        self._turn = threading.Lock()

    def png(self, picture: Any, caption: str, m: Real, seed: int = 0, **how: Any) -> bytes:
        """`frame` as the bytes of a PNG."""
        return packed(self._frame(picture, caption, m, seed, **how))

    def frame(self, picture: Any, caption: str, m: Real, seed: int = 0, **how: Any) -> Image.Image:
        """The frame `pipe(picture, caption, m, seed=seed).frames[0]`, of the picture's size, but for rounding.

        Where convolutions round (see the class) a picture's first frame is within three grey levels of it; others are free.
        picture, caption, m, seed as the pipeline takes them; how: steps, s_I, s_T (the weights' own unless given), and
        callback, which gets the sampler's dict at each step and may raise to stop. Errors: the pipeline's.
        """
        return self._frame(picture, caption, m, seed, **how).copy()  # a caller may draw on his

    def warped(self, picture: Any, caption: str, m: Real) -> bytes:
        """D(z_W) as a PNG of the work size: what the warp alone makes of it, in no steps at all.

        Errors: the pipeline's, and ValueError for weights without a warp.
        """
        if not self.model.uses_warp:
            raise ValueError(f"Weights of the variant {self.model.variant} have no warp to show: ask for a frame.")
        order, source = self._order(caption, m, 0), to_source(picture)
        if not order.rows:
            return packed(source)
        with self._turn, self._models():
            known = self._source(source, self._content(source))
            c_T, motion = self._text(order, known.E), torch.tensor(order.motions, device=known.E.device)
            text, null = c_T[motion_prompt(caption, order.motions[0])][None], c_T[NULL_PROMPT]
            what = known.E, text, null, motion, None, None, known.corners, known.again
            branches, _ = make_branches(self.model, ("full",), *what)
            z_W = branches["full"].z_W / self.pipe.image_scale
            return packed(to_pil(self.pipe.vae.decode(z_W.to(self.pipe.vae.dtype)).sample[0]))

    def _frame(self, picture: Any, caption: str, m: Real, seed: int, **how: Any) -> Image.Image:
        order = self._order(caption, m, seed, **how)
        source = to_source(picture)
        if not order.rows:
            return source
        seen = self._content(source)
        asked = (seen, caption, order.motions[0], seed, len(order.sigmas), order.scales)
        with self._turn, self._models():
            if (made := self._frames.get(asked)) is None:
                made = self._make(order, source, seen)
                self._frames.put(asked, made, 3 * made.width * made.height)
        return made

    @contextmanager
    def _models(self) -> Iterator[None]:
        """Around all that runs models. Not inference_mode: see `Pix2GifPipeline.encode`."""
        with torch.no_grad(), out_of_memory(ADVICE):
            try:
                yield
            finally:
                if getattr(self.pipe, "_all_hooks", None):  # else nothing is to be freed, and to find that out takes 0.4 ms
                    self.pipe.maybe_free_model_hooks()

    def _order(
        self,
        caption: str,
        m: Real,
        seed: int,
        steps: int | None = None,
        s_I: float | None = None,
        s_T: float | None = None,
        callback: Callable[[dict], None] | None = None,
    ) -> Order:
        """The request, checked as the pipeline checks it."""
        c, ac = self.pipe.config, self._alphas_cumprod
        motions = check_motions(m, self.pipe.motion_rows)
        if len(motions) != 1:
            raise ValueError(f"A frame of {len(motions)} motions: give one number, such as 8.")
        for moving in filter(None, motions):
            motion_prompt(caption, moving)
        scales = check_scales(c.s_I if s_I is None else s_I, c.s_T if s_T is None else s_T)
        steps = c.sampling_steps if steps is None else steps
        if type(steps) is not int or (sigmas := self._sigmas.get(steps)) is None:
            sigmas, _ = sigmas_for(steps, ac, c.spacing, c.sampler)
            self._sigmas[int(steps)] = sigmas
        check_distilled(c.distilled_steps, steps, c.sampler, scales)
        return Order(
            caption=caption,
            motions=motions,
            scales=scales,
            interval=None,
            sampler=c.sampler,
            sigmas=sigmas,
            alphas_cumprod=ac,
            prediction_type=c.prediction_type,
            noise="shared",
            generator=torch.Generator().manual_seed(check_seed(seed)),
            at_once=1,
            callback=callback,
        )

    def _make(self, order: Order, source: Image.Image, seen: Hashable) -> Image.Image:
        known = self._source(source, seen)
        c_T, case, noise = self._text(order, known.E), (seen, len(order.sigmas)), order.generator.get_state()
        rounds = self._rounds.get(case) if self._may_round(order, known.E) else False
        made = self._drawn(self._rounded if rounds else self._exact, order, source, known, c_T)
        if rounds is None:  # the first of its kind: is the rounding seen in it?
            order.generator.set_state(noise)
            other = self._drawn(self._rounded, order._replace(callback=None), source, known, c_T)
            self._rounds.put(case, is_alike(made, other), 1)
        return made

    def _drawn(self, way: Way, order: Order, source: Image.Image, known: Source, c_T: Mapping[str, Tensor]) -> Image.Image:
        self.model.unet, vae = way
        z, F = sample_latents(order, self.model, known.E, c_T, Clock(), known.corners, known.again)
        return next(decode_frames(order, vae, z, F, source.size, known.extra))

    def _may_round(self, order: Order, E: Tensor) -> bool:
        """Is there a rounding way that is sooner? Guidance would make the rounding's part of the answer larger."""
        fast = self._exact.unet.dtype == torch.float32 and choose_precision("auto", cpu=True) == "bf16"
        return fast and needed_predictions(*order.scales) == ("full",) and self._rounded.unet.can_predict(E)

    def _content(self, picture: Image.Image) -> Hashable:
        """`content`, at once for the picture that was seen last."""
        pixels, (last, known) = (picture.size, picture.tobytes()), self._last
        if pixels != last:
            known = content(picture)
            self._last = pixels, known
        return known

    def _source(self, source: Image.Image, seen: Hashable) -> Source:
        """What stays the same of a picture, in full precision: every frame is made of it."""
        pipe = self.pipe
        if (known := self._sources.get(seen)) is None:
            latent = pipe.encode(source)
            decoded = pipe.vae.decode(latent).sample if self.model.uses_warp else None  # as in the pipeline
            extra = None if decoded is None else (lost_detail(source, decoded), decoded)
            corners = corners_of([source]) if pipe.config.calibrate else None
            known = Source((latent * pipe.image_scale).to(pipe.unet.dtype), corners, extra, look_again(pipe, source))
            self._sources.put(seen, known, known.size)
        return known

    def _text(self, order: Order, like: Tensor) -> Mapping[str, Tensor]:
        """c_T of the order's prompt, and while at it those of every motion that a slider stands at."""
        c_T = self._texts.get(order.caption)
        if c_T is None or motion_prompt(order.caption, order.motions[0]) not in c_T:
            rows = self.pipe.motion_rows or MOTION_MAX + 1
            every = order._replace(motions=[*order.motions, *range(1, min(MOTION_MAX, rows - 1) + 1)])
            c_T = encode_texts(every, self.pipe.tokenizer, self.pipe.text_encoder, like)
            self._texts.put(order.caption, c_T, sum(each.numel() * each.element_size() for each in c_T.values()))
        return c_T


def is_alike(first: Image.Image, second: Image.Image) -> bool:
    """Do two RGB pictures of one size differ by three grey levels at most, and mostly not at all?"""
    difference = np.abs(np.asarray(first, np.int16) - np.asarray(second, np.int16))
    return bool(difference.max() <= MOST_UNSEEN and difference.mean() <= UNSEEN)


def content(picture: Image.Image) -> Hashable:
    """What tells an RGB picture from others: its pixels, for it may be drawn on."""
    return picture.size, hashlib.sha256(picture.tobytes()).digest()
