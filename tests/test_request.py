"""What a user may ask the pipeline for: everything else is refused before a model runs, in a sentence."""

import math
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from pix2gif_lite.request import (
    DEVICES,
    check_folder,
    check_mix,
    check_motions,
    choose_device,
    parse_loss_weights,
    parse_mix,
    parse_motions,
)

CAPTION = "a red balloon is rising"
PARTS = ("vae", "text_encoder", "unet", "motion_embedding", "flow_net")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"caption": "  "}, "caption"),
        ({"caption": None}, "caption"),
        ({"motion": []}, "empty"),
        ({"motion": [4, -1]}, "-1"),
        ({"motion": math.nan}, "nan"),
        ({"motion": math.inf}, "inf"),
        ({"motion": 32}, "31"),
        ({"motion": "4"}, "text"),
        ({"motion": [3, "4"]}, "'4'"),
        ({"motion": [True]}, "True"),
        ({"motion": [5] * 10_000}, "10000"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"sampler": "heun"}, "heun"),
        ({"s_T": -1}, "s_T"),
        ({"s_I": math.nan}, "s_I"),
        ({"s_M": "1"}, "s_M"),
        ({"interval": (3, 1)}, "interval"),
        ({"interval": 4}, "interval"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"noise": "pink"}, "pink"),
        ({"output_size": 2}, "output size"),
        ({"output_size": (64, 64, 64)}, "output size"),
        ({"image": torch.zeros(1, 64, 64)}, r"\(1, 64, 64\)"),
        ({"image": torch.full((3, 64, 64), math.nan)}, "finite"),
        ({"image": np.zeros((64, 64, 3))}, "float64"),
        ({"image": Image.new("RGB", (1, 1))}, "1 x 1"),
    ],
    ids=lambda part: part if isinstance(part, str) else f"{next(iter(part))}-{type(next(iter(part.values()))).__name__}",
)
def test_bad_input_is_refused_before_any_model_runs(pipe, picture, change, words):
    ran = []
    handles = [getattr(pipe, name).register_forward_pre_hook(lambda *_: ran.append(1)) for name in PARTS]
    with pytest.raises(ValueError, match=words):
        pipe(**{"image": picture, "caption": CAPTION, "motion": [4], **change})
    for handle in handles:
        handle.remove()
    assert ran == []


def test_missing_picture(pipe):
    with pytest.raises(FileNotFoundError, match=r"nothing\.png"):
        pipe("nothing.png", CAPTION, 4)


def test_warnings(pipe, picture):
    with pytest.warns(UserWarning, match="Motion 1, 25 is outside 2-20") as caught:
        pipe(picture, CAPTION, [0, 1, 2, 20, 25], steps=1)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning) as caught:
        out = pipe(picture, "word " * 100, [4, 25], steps=1)
    assert out.notes == [str(each.message) for each in caught] and len(out.notes) == 2 and "tokens long" in out.notes[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pipe(picture, "word " * 100, [4, 25], steps=1, quiet=True).notes == out.notes
        assert pipe(picture, CAPTION, [0, 4], steps=1).notes == []


def test_lists_as_text():
    assert parse_motions("2,4, 6.5;8,") == [2, 4, 6.5, 8]
    with pytest.raises(ValueError, match="'x'"):
        parse_motions("2,x")
    assert check_motions(np.array([2, 4])) == check_motions(torch.tensor([2.0, 4.0])) == [2, 4]
    assert check_motions(np.float32(3.5)) == check_motions([torch.tensor(3.5)]) == [3.5]
    assert check_motions(range(256), rows=1024) == list(range(256))


def test_loss_weights_as_text():
    known = {"diffusion": 1.0, "warp": 0.3}
    assert parse_loss_weights("warp=0, ", known) == {"diffusion": 1.0, "warp": 0.0}
    assert parse_loss_weights(" warp = 2,diffusion=.5", known) == {"diffusion": 0.5, "warp": 2.0}
    for wrong, message in (("wrap=1", "'wrap'"), ("warp", "warp is ''"), ("warp=-1", "'-1'"), ("warp=nan", "'nan'")):
        with pytest.raises(ValueError, match=message):
            parse_loss_weights(wrong, known)


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_built(), reason="torch can compute on a GPU here")
def test_an_apple_gpu_on_which_torch_cannot_warp_is_not_chosen(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == "cpu"


def test_folders_and_devices(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "er")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is a file"):
        check_folder(tmp_path / "file")
    with pytest.raises(ValueError, match="Cannot write into"):
        check_folder(tmp_path / "file" / "below")
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto").split(":")[0] in DEVICES
    for name in ("abacus", "cuda:99", "meta", ""):
        with pytest.raises(ValueError, match=f"device {name!r}"):
            choose_device(name)


@pytest.mark.parametrize(
    ("mix", "counts", "message"),
    [
        ({"scene": 1}, {"scenes": 4}, "Unknown data set 'scene': choose from scenes, large, photos"),
        ({"scenes": -1}, {"scenes": 4}, "weight of scenes is -1"),
        ({"scenes": math.nan}, {"scenes": 4}, "is nan"),
        ({"scenes": 1, "photos": 1}, {"scenes": 4, "photos": 0}, "asks for photos, but there are none: say how many"),
        ({"scenes": 0}, {"scenes": 4}, "nothing to train on"),
        (None, {"scenes": 0}, "nothing to train on"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(mix, counts, message):
    with pytest.raises(ValueError, match=message):
        check_mix(mix, counts)


def test_a_mix_is_shares_of_what_there_is():
    assert check_mix(None, {"scenes": 4, "photos": 0}) == {"scenes": 1.0}
    assert check_mix(None, {"scenes": 4, "photos": 9}) == {"scenes": 0.65, "photos": 0.35}
    assert check_mix({"photos": 1, "scenes": 3}, {"scenes": 4, "photos": 9}) == {"scenes": 0.75, "photos": 0.25}
    assert check_mix({"photos": 2, "scenes": 0}, {"scenes": 4, "photos": 9}) == {"photos": 1.0}


def test_a_mix_as_text():
    assert parse_mix("scenes=0.6, photos=.4") == {"scenes": 0.6, "photos": 0.4}
    assert parse_mix("photos=2,scenes=0") == {"photos": 2.0}
    for wrong, message in (("scene=1", "Unknown data set 'scene'"), ("photos", "weight of photos is ''"), ("photos=x", "'x'")):
        with pytest.raises(ValueError, match=message):
            parse_mix(wrong)
