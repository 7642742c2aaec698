"""The autoencoder's job: what a batch is, which loss it gets, how it is measured. The loop is training_loop.py's.

A job is a module whose `forward(batch)` returns a dict of loss terms, their weighted sum under "loss"; the parameters
that require a gradient are trained. `batch(numbers)` makes the samples of those numbers, `measure()` is called now and
then with the averaged weights in place and returns numbers for the log.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..autoencoder import PatchAutoencoderKL
from ..data.training_data import PictureBatch, PictureSource, held_out_crops, keyed_noise, keyed_rng
from ..lookup import resized, to_sampling_grid, warp
from ..metrics import psnr
from ..presets import MOTION_MAX, Preset
from ..scenes import draw, sample_scenes

LOSS_WEIGHTS = {"l1": 1.0, "square": 4.0, "edges": 0.5}  # the KL's is the preset's
POSTERIOR_STREAM, WARP_STREAM = 0x9057, 0x3A79  # set apart random numbers drawn for the same (seed, number)


def reconstruction_terms(decoded: Tensor, image: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """The terms l1, square and edges (see `AutoencoderJob`) of pictures (B, 3, H, W), each pixel weighted by (B, 1, H, W)."""
    error = decoded - image
    across, down = (error.diff(dim=d).abs() * weight.narrow(d, 1, error.shape[d] - 1) for d in (-1, -2))
    return {
        "l1": (weight * error.abs()).mean(),
        "square": (weight * error.square()).mean(),
        "edges": across.mean() + down.mean(),
    }


class AutoencoderJob(nn.Module):
    """E and D: L1 + squares + edges, a little KL, and decoding of warped latents.

        l1      |x' - x|                              colours and shapes
        square  (x' - x)^2                            what PSNR measures: large errors, at edges, count more
        edges   |dx' - dx|                            neighbouring differences: sharpness
        kl      the posterior against N(0, 1), per latent number; its noise makes the latent smooth

    The method warps latents, so warped latents must decode: with probability `equivariance` a sample's latent is moved
    by a random shift, affine or smooth flow of about `max_cells` cells, and D has to give the picture moved as far.
    `moving_weight`: how much more a pixel weighs where something moves.
    `decoder_only`: E stays as it is, and with it every latent a model was trained on (as Stability's ft-MSE autoencoder).
    """

    def __init__(
        self,
        preset: Preset,
        vae: PatchAutoencoderKL,
        source: PictureSource,
        seed: int = 0,
        equivariance: float = 0.25,
        moving_weight: float = 2.0,
        weights: dict[str, float] | None = None,
        max_cells: float = 3.0,
        held_out: int = 16,
        decoder_only: bool = False,
    ) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(True)
        if decoder_only:
            for part in (vae.encoder, vae.quant_conv):
                if part is not None:
                    part.requires_grad_(False)
        self.interpolation = preset.interpolation
        self.source, self.seed, self.image_size = source, seed, preset.image_size
        self.equivariance, self.moving_weight, self.max_cells = equivariance, moving_weight, max_cells
        self.weights = weights or LOSS_WEIGHTS | {"kl": preset.autoencoder.kl_weight}
        self.held_out = held_out
        self._tests: tuple[Tensor, Tensor, Tensor] | None = None

    @property
    def heavy(self) -> list[nn.Module]:
        """Where a step's time and memory go."""
        return [self.vae.encoder, self.vae.decoder]

    def batch(self, numbers: Sequence[int]) -> PictureBatch:
        return self.source.batch(numbers)

    def random_flow(self, number: int, cells: int) -> Tensor | None:
        """A backward flow in cells, (2, cells, cells), or None: a shift by whole pixels, an affine change, or a smooth one.

        A shift is a few quarters of a cell for lite: the picture moved as far is exact, the latent is looked up between
        cells. In a smooth flow one part goes one way and another elsewhere, as around something that moves.
        """
        rng = keyed_rng(self.seed, number, WARP_STREAM)
        if rng.random() >= self.equivariance:
            return None
        pixels, kind = self.vae.downsampling, rng.random()
        shift = rng.integers(-int(self.max_cells * pixels), int(self.max_cells * pixels) + 1, 2) / pixels
        flow = torch.tensor(shift, dtype=torch.float32).view(2, 1, 1).expand(2, cells, cells)
        if 0.5 <= kind < 0.75:
            matrix = torch.tensor(rng.uniform(-0.12, 0.12, (2, 2)), dtype=torch.float32)
            axis = torch.arange(cells) - (cells - 1) / 2
            place = torch.stack(torch.meshgrid(axis, axis, indexing="xy"))  # (2, cells, cells), x then y
            flow = 0.5 * flow + torch.einsum("ij,jhw->ihw", matrix, place).clamp(-self.max_cells, self.max_cells)
        elif kind >= 0.75:
            knots = torch.tensor(rng.uniform(-self.max_cells, self.max_cells, (1, 2, 5, 5)), dtype=torch.float32)
            flow = F.interpolate(knots, (cells, cells), mode="bilinear", align_corners=True)[0]
        return flow.contiguous()

    def moved(self, z: Tensor, image: Tensor, numbers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Some samples moved: latents (B, 4, h, w), pictures (B, 3, H, W), where those are known (B, 1, H, W)."""
        known = torch.ones_like(image[:, :1])
        flows = {i: f for i, n in enumerate(numbers) if (f := self.random_flow(n, z.shape[-1])) is not None}
        if not flows:
            return z, image, known
        rows, flow = torch.tensor(list(flows), device=z.device), torch.stack(list(flows.values())).to(z.device)
        # Pixels see the same flow, interpolated linearly (an affine flow stays itself), in pixels.
        grid = to_sampling_grid(resized(flow, *image.shape[-2:])).permute(0, 2, 3, 1)
        picture = F.grid_sample(image[rows], grid, mode="bicubic", padding_mode="border", align_corners=False)
        inside = (grid.abs() < 1).all(-1)[:, None].to(known)
        z = z.index_copy(0, rows, warp(z[rows], flow, interpolation=self.interpolation))
        return z, image.index_copy(0, rows, picture.clamp(-1, 1)), known.index_copy(0, rows, inside)

    def forward(self, batch: PictureBatch) -> dict[str, Tensor]:
        posterior = self.vae.encode(batch.image).latent_dist
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        noise = keyed_noise(self.seed, batch.numbers, mean.shape[1:], POSTERIOR_STREAM).to(mean)
        z, image, known = self.moved(mean + noise * (0.5 * logvar).exp(), batch.image, batch.numbers)
        decoded = self.vae.decode(z).sample.float()

        terms = reconstruction_terms(decoded, image, known * (1 + self.moving_weight * batch.moving))
        terms["kl"] = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        terms["loss"] = sum(self.weights[name] * value for name, value in terms.items())
        return terms

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """PSNR of D(E(x)) in dB: validation scenes, their moving region, photographs kept out; the latent's spread."""
        if self._tests is None:
            scenes = sample_scenes(self.held_out, "val", seed=1)
            frame = draw(scenes, [2 + 3 * k % (MOTION_MAX - 1) for k in range(len(scenes))], self.image_size)
            photos = held_out_crops(self.image_size, self.held_out) if self.source.photos else frame.image[:0]
            self._tests = frame.image, frame.moving, photos
        image, moving, photos = (t.to(self.vae.device) for t in self._tests)
        z = self.vae.encode(image).latent_dist.mode()
        decoded = self.vae.decode(z).sample
        measured = {
            "psnr": float(psnr(decoded, image).mean()),
            "psnr_moving": float(psnr(decoded, image, moving).nanmean()),
            "latent_std": float(z.std()),
        }
        if len(photos):
            decoded = self.vae.decode(self.vae.encode(photos).latent_dist.mode()).sample
            measured["psnr_photos"] = float(psnr(decoded, photos).mean())
        return measured
