"""WNet that knows how to look between cells (ours, lite's default; the paper's Eq. 6 is the plain look-up in lookup.py).

A cell of lite's latent stands for 4 x 4 pixels. Looked up between cells, its four numbers are averages of two codes, and the
code of an average is another; and a cell on an object's edge moves whole, or not at all. Both cost more than a wrong flow
did: see the model card. So each cell is unfolded into r x r places, which are looked up one by one, and folded again:

    F    h x w          FNet's flow, cells
      | enlarge         every place chooses among the flows of the 3 x 3 cells around it: an edge may run through a cell
    F'   r h x r w      in places; what moves as one is corrected there (bodies.py)
    U = unfold(E(c_I))
    O(U, features)      what of the source moves, 0 .. 1 in each place
    a(p) = (1 - O(p)) (1 - O(p + F'(p)))
    z_W = W + fold((1 - a) WNet(U, F') + a U; W, O),    W = (1 - a) WNet(E(c_I), F) + a E(c_I)

a says what stays: a place that holds nothing that moves, and to which nothing that moves comes. So the outline of a thing is
drawn once, where the picture shows it, and the flow carries it along: F itself may be smooth and go on beyond the outline,
which a network draws well, and a backdrop is not dragged by it. Where a thing has left, a is 0 and F fetches the backdrop
from beside it.

`enlarge` is the convex upsampling of RAFT (Teed and Deng 2020, section 3.3); unfold and fold are a few convolutions around
a pixel shuffle. Training starts at W, of which 0.2 % stays: the last layer of fold is 0, and the first choice is bilinear.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bodies import Bodies
from .lookup import warp

MOVES = 3.0  # of O, before training, behind a sigmoid: 95 % moves, so 0.2 % stays


def enlarge(flow: Tensor, logits: Tensor, r: int) -> Tensor:
    """A flow (B, 2, h, w) in cells on a grid r times finer, (B, 2, r h, r w) in its places, float32.

    logits (B, 9 r r, h, w): how much each of a cell's r x r places takes from each of the 3 x 3 cells around it, before a
    softmax, so that no place moves further than some neighbour. Beyond the edge the flow goes on.
    """
    B, _, h, w = flow.shape
    shares = logits.float().view(B, 1, 9, r * r, h * w).softmax(dim=2)  # few dimensions: the product is twice as fast
    around = F.unfold(F.pad(r * flow.float(), (1, 1, 1, 1), mode="replicate"), kernel_size=3).view(B, 2, 9, 1, h * w)
    fine = (shares * around).sum(dim=2).view(B, 2, r, r, h, w)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(B, 2, h * r, w * r)


def bilinear_logits(r: int) -> Tensor:
    """Logits (9 r r,) with which `enlarge` is bilinear enlargement, but for 1 % of the most that neighbours differ by.

    The 1 % goes to all nine neighbours alike: a share of exactly 0 could not be learnt away from.
    """
    places = (torch.arange(r, dtype=torch.float32) + 0.5) / r - 0.5  # from the cell's centre, in cells
    near = (1 - (torch.tensor([-1.0, 0.0, 1.0])[:, None] - places).abs()).clamp(min=0)  # (3, r), along one side
    return (torch.einsum("yi,xj->yxij", near, near) + 1e-3).log().flatten()


class OfPlaces(nn.Conv2d):
    """A 1 x 1 convolution of pixel_unshuffle(x, r), and its weights: (B, C, r h, r w) -> (B, C', h, w), from cell to cell."""

    def __init__(self, channels: int, outputs: int, r: int, bias: bool = True) -> None:
        super().__init__(channels * r * r, outputs, 1, bias=bias)
        self.r = r

    def forward(self, x: Tensor) -> Tensor:
        """See above. In strides, so that nothing is shuffled; on a CPU twice as fast with the channels last, with the copy."""
        weight = self.weight.view(-1, x.shape[1], self.r, self.r)
        return F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, self.bias, stride=self.r)


class Residual(nn.Module):
    """x + two convolutions of it, normed before; all of one width."""

    def __init__(self, width: int) -> None:
        super().__init__()

        def layer() -> tuple[nn.Module, ...]:
            return nn.GroupNorm(max(1, width // 8), width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)

        self.layers = nn.Sequential(*layer(), *layer())

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) -> the same."""
        return x + self.layers(x)


class Places(NamedTuple):
    """What the learnt look-up knows of every place, r x r of them a cell."""

    flow: Tensor  # F', (B, 2, r h, r w), in places
    codes: Tensor  # U, (B or 1, 3 channels, r h, r w)
    moving: Tensor  # O, (B, 1, r h, r w), 0 .. 1
    arriving: Tensor  # O(p + F'(p)), the same

    @property
    def staying(self) -> Tensor:
        """a, (B, 1, r h, r w), 0 .. 1."""
        return (1 - self.moving) * (1 - self.arriving)


class SubcellWarp(nn.Module):
    """The learnt look-up: latents of `channels`, r x r places a cell, convolutions of `width`, FNet's `features` to read.

    edge: channels in which O is drawn; bodies: how many things may each move as one (bodies.py), 0: none.
    """

    def __init__(self, channels: int, features: int, r: int, width: int, edge: int = 16, bodies: int = 0) -> None:
        super().__init__()
        self.r = r
        unfolded = 3 * channels * r * r  # of a cell; three times the latent's own channels at each place
        self.unfold = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1), Residual(width), nn.SiLU(), nn.Conv2d(width, unfolded, 1),
            nn.PixelShuffle(r),
        )  # fmt: skip
        self.fold = nn.Sequential(
            nn.Identity(), OfPlaces(3 * channels, width, r), Residual(width), nn.SiLU(),
            nn.Conv2d(width, channels, 3, padding=1),
        )  # fmt: skip
        self.choose = nn.Sequential(nn.Conv2d(features, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, 9 * r * r, 1))
        self.look, self.guide = nn.Conv2d(3 * channels, edge, 3, padding=1), nn.Conv2d(width, edge * r * r, 1)
        self.draw = nn.Conv2d(edge, 1, 3, padding=1)
        self.compare = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.moves = OfPlaces(2, width, r, bias=False)
        silent = (*self.fold[-1].parameters(), self.choose[-1].weight, self.draw.weight, self.compare.weight, self.moves.weight)
        for parameter in silent:
            nn.init.zeros_(parameter)
        nn.init.constant_(self.draw.bias, MOVES)
        self.choose[-1].bias.data.copy_(bilinear_logits(r))
        self.bodies = Bodies(width, r, bodies) if bodies else None

    def refine(self, latents: Tensor, flow: Tensor, features: Tensor) -> tuple[Tensor, Places]:
        """F again, corrected by what moves as one (bodies.py), and flow, codes and outlines within the cells.

        Of latents E(c_I) (B, channels, h, w), or (1, ...) where they are all alike, F (B, 2, h, w) in cells and FNet's finest
        features (B, features, h, w).
        """
        seen = self.choose[:-1](features)
        fine = enlarge(flow, self.choose[-1](seen), self.r)
        codes = self.unfold(latents)
        outline = F.pixel_shuffle(self.guide(seen), self.r)
        outline = self.draw(F.silu(outline.add_(self.look(codes)), inplace=True))
        moving = outline.float().sigmoid()
        if self.bodies is not None:
            as_bodies = self.bodies(fine, seen, warp(moving, fine).detach(), moving.detach())
            flow, fine = flow + F.avg_pool2d(as_bodies - fine, self.r) / self.r, as_bodies
        return flow, Places(fine, codes, moving, warp(moving, fine))

    def forward(self, latents: Tensor, flow: Tensor, places: Places, interpolation: str = "bilinear") -> Tensor:
        """z_W (B, channels, h, w) of latents E(c_I), F in cells, and what `refine` says of the places.

        `interpolation` is that of F; between places, which are small, bilinear is enough. A dropped picture, all 0, gives 0.
        """
        stay = places.staying
        plain = warp(latents, flow, interpolation=interpolation)
        plain = plain + F.avg_pool2d(stay, self.r).to(plain.dtype) * (latents - plain)
        codes = places.codes.expand(len(latents), -1, -1, -1)
        moved = warp(codes, places.flow)
        moved = torch.lerp(moved, codes, stay.to(moved.dtype))
        outlines = torch.cat([places.moving, places.arriving], dim=1).to(moved.dtype)
        cells = self.fold[1](moved) + self.compare(plain) + self.moves(outlines)
        learnt = self.fold[2:](cells).to(plain.dtype)
        there = (latents != 0).flatten(1).any(dim=1)[:, None, None, None]  # (B, 1, 1, 1): the biases know no dropped picture
        return plain + learnt * there
