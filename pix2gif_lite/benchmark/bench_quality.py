"""How good a way of asking is, on scenes kept out of training: so that no row of the benchmark is fast and bad unseen.

The same scenes for every row, drawn once. Frames are what D makes, as in the evaluation; seeds are the scenes' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from ..evaluation.generating import Drawn, Scales, drawn, generate_for
from ..evaluation.measuring import fidelity, measured_motion
from ..evaluation.summary import mean
from ..guidance import needed_predictions
from ..metrics import pearson, rmse
from ..pipeline import Pix2GifPipeline
from ..presets import DEMO_MOTIONS
from ..scenes import sample_scenes

FIGURES = ("psnr", "moving_psnr", "pearson", "rmse", "scenes", "quality_steps")


class Way(NamedTuple):
    """One way to ask for a GIF."""

    steps: int
    sampler: str
    scales: Scales = Scales()
    interval: tuple[float, float] | None = None  # noise levels that are guided; None: all

    @property
    def predictions(self) -> int:
        """Of the UNet, for a frame and a step that is guided."""
        return len(needed_predictions(*self.scales))


class Judge:
    """The first `scenes` of `test` at DEMO_MOTIONS, at `size` px a side."""

    def __init__(self, scenes: int, size: int) -> None:
        self.parts: list[Drawn] = list(drawn(sample_scenes(scenes, "test"), DEMO_MOTIONS, size))
        self.scenes = scenes
        self._known: dict[tuple[int, Way], dict[str, Any]] = {}

    def figures(self, pipe: Pix2GifPipeline, way: Way) -> dict[str, Any]:
        """The figures of a way, means over scenes (None where there is nothing to measure). The same way is made once.

        psnr, moving_psnr        against the exact frames, dB
        pearson, rmse            of asked and measured motion, a GIF; px at 256 x 256
        scenes, quality_steps    of how many
        """
        key = (id(pipe), way)
        if key not in self._known:
            columns: dict[str, list[torch.Tensor]] = {"psnr": [], "moving_psnr": [], "pearson": [], "rmse": []}
            for part in self.parts:
                how = {"scales": way.scales, "interval": way.interval}
                frames = generate_for(pipe, part, DEMO_MOTIONS, way.steps, way.sampler, **how).image
                likeness = fidelity(frames, part.exact)
                measured = measured_motion(part.source, frames).view(len(part.source), -1)
                asked = torch.tensor([float(m) for m in DEMO_MOTIONS]).expand_as(measured)
                for name in ("psnr", "moving_psnr"):
                    columns[name].append(likeness[name].view_as(measured).nanmean(1))
                columns["pearson"].append(pearson(asked, measured))
                columns["rmse"].append(rmse(asked, measured))
            means = {name: mean(torch.cat(values)) for name, values in columns.items()}
            self._known[key] = {**means, "scenes": self.scenes, "quality_steps": way.steps}
        return self._known[key]

    def learn(self, pipe: Pix2GifPipeline, way: Way, row: Mapping[str, Any]) -> None:
        """Take the figures of a way from a row that has them."""
        self._known[id(pipe), way] = {name: row[name] for name in FIGURES}
