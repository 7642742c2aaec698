"""Charts: curves that say what they were given, files that open."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite.viz import heatmap, histogram, plot_curves, requested_vs_measured


def test_curves_of_a_log(tmp_path):
    log = tmp_path / "log.jsonl"
    lines = [{"step": k, "loss": 1 / (k + 1), "lr": 0.1, "note": "text"} for k in range(5)] + [{"step": 4, "psnr": 30.0}]
    log.write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 5, "lo')
    one = Image.open(plot_curves(log, tmp_path / "one.png", ["loss"]))
    three = Image.open(plot_curves(log, tmp_path / "three.png"))
    assert one.format == three.format == "PNG" and three.width == 3 * one.width  # loss, lr, psnr side by side
    assert np.asarray(one.convert("L")).std() > 1
    with pytest.raises(ValueError, match="holds no fvd: it has loss, lr, psnr"):
        plot_curves(log, tmp_path / "x.png", ["fvd"])
    with pytest.raises(FileNotFoundError, match="No training log"):
        plot_curves(tmp_path / "none.jsonl", tmp_path / "x.png")


def test_asked_and_measured_motion(tmp_path):
    asked = [2, 8, 19]
    path = requested_vs_measured(asked, {"ours": torch.rand(5, 3) + torch.tensor(asked), "exact": asked}, tmp_path / "m.png")
    with Image.open(path) as figure:
        assert np.asarray(figure.convert("L")).std() > 1
    many = requested_vs_measured(asked, {str(k): [k, k, k] for k in range(12)}, tmp_path / "many.png")
    with Image.open(path) as few, Image.open(many) as figure:  # the names lie beside the curves, not on them
        assert figure.width > few.width and figure.height == few.height
        drawn = np.asarray(figure.convert("RGB")).reshape(-1, 3)
    blue, orange, green = ((drawn == colour).all(1).sum() for colour in ((31, 119, 180), (255, 127, 14), (44, 160, 44)))
    assert min(blue, orange) < 2 * green and min(blue, orange) > 1.1 * green  # twice each, the second time dotted
    with pytest.raises(ValueError, match="'ours' has 2 motions, 3 were asked"):
        requested_vs_measured(asked, {"ours": [[1, 2]]}, tmp_path / "n.png")


@pytest.mark.parametrize("value", [-1, -0.5, 0, 0.5, 1])
def test_numbers_are_read_on_every_colour(value):
    """Of a scale that ends in dark blue and dark red and is white between."""
    how = {"limits": (-1, 1), "diverging": True}
    plain, written = (np.asarray(heatmap([[value]], numbers=numbers, **how)).astype(int) for numbers in (False, True))
    assert np.abs(plain - written).max() > 120  # of 255; black on the dark ends would be 97 and 103


def test_weights_of_a_histogram_say_how_often_each_value_counts():
    bins = [0, 1, 2, 3]
    each = histogram({"a": [0.5, 0.5, 0.5, 2.5], "b": [1.5]}, bins)
    weighted = histogram({"a": [0.5, 2.5], "b": [1.5]}, bins, weights={"a": [3, 1], "b": [1]})
    assert each.tobytes() == weighted.tobytes() != histogram({"a": [0.5, 2.5], "b": [1.5]}, bins).tobytes()
