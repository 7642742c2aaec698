"""gifs.py: what is written is read back, times add up, palettes do what they claim, no half file is left behind."""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite import gifs
from pix2gif_lite.gifs import check_output, choose_palette, encode_animation, loop_frames, read_frames, save_animation


def ball(k: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A ball that moves 4 px a frame before a still gradient of some 3,000 colours."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    sky = np.stack([120 + 2 * y, 150 + x, 220 - y], -1)
    inside = np.hypot(x - 10 - 4 * k, y - 34) < 8
    return Image.fromarray(np.where(inside[..., None], (220, 40, 60), sky).clip(0, 255).astype(np.uint8))


def rush(k: int) -> Image.Image:
    """Each frame has colours of its own: nothing stands still."""
    y, x = np.mgrid[0:64, 0:64]
    base = np.array([[255, 60, 0], [0, 200, 90], [30, 0, 255], [250, 250, 0], [0, 220, 240], [160, 0, 160]])[k % 6]
    shade = (0.3 + 0.5 * x / 64)[..., None] * base + (60 * y / 64)[..., None]
    return Image.fromarray(shade.clip(0, 255).astype(np.uint8))


def psnr(a, b) -> float:
    return 10 * np.log10(255**2 / np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2))


BALLS = [ball(k) for k in range(6)]


@contextmanager
def full_disk(limit: int = 200):
    """Files may not grow beyond `limit` bytes: a real OSError from the system, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# ------------------------------------------------------------------------------------------------------ round trips


@pytest.mark.parametrize(("kind", "least"), [("gif", 33), ("webp", 33), ("mp4", 28)])
@pytest.mark.parametrize("fps", [4, 7, 30])
def test_round_trip_keeps_frames_order_and_total_time(tmp_path, kind, least, fps):
    path = save_animation(BALLS, tmp_path / f"ball.{kind}", fps=fps)
    frames, durations = read_frames(path)
    assert len(frames) == len(durations) == 6
    unit = 1 if kind == "mp4" else 10
    assert sum(durations) == unit * round(6000 / unit / fps)
    assert max(durations) - min(durations) <= unit and all(d % unit == 0 for d in durations)
    for k, frame in enumerate(frames):
        scores = [psnr(frame, original) for original in BALLS]
        assert frame.mode == "RGB" and scores[k] > least and np.argmax(scores) == k


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize("order", [(0, 0, 1, 1, 1, 2), (0, 0, 0, 0), (0,), (1, 0, 0)])
def test_identical_neighbours_keep_the_total_time(tmp_path, kind, order):
    path = save_animation([BALLS[k] for k in order], tmp_path / f"same.{kind}", fps=4, palette="global")
    frames, durations = read_frames(path)
    if kind == "gif" or len(set(order)) > 1:  # a WebP of one picture is a still picture, which has no time
        assert sum(durations) == 250 * len(order)
    shown = [int(np.argmax([psnr(frame, b) for b in BALLS])) for frame in frames]
    assert [k for i, k in enumerate(shown) if i == 0 or k != shown[i - 1]] == sorted(set(order), key=order.index)


def test_pingpong_by_hand(tmp_path):
    assert loop_frames([0, 1, 2, 3], "pingpong") == [0, 1, 2, 3, 2, 1]
    assert loop_frames([0, 1, 2], "pingpong") == [0, 1, 2, 1]
    assert loop_frames([0, 1], "pingpong") == [0, 1]
    assert loop_frames([0], "pingpong") == [0]
    assert loop_frames((0, 1, 2), "forward") == loop_frames([0, 1, 2], "none") == [0, 1, 2]
    frames, durations = read_frames(save_animation(BALLS[:4], tmp_path / "swing.gif", loop="pingpong"))
    assert [int(np.argmax([psnr(f, b) for b in BALLS])) for f in frames] == [0, 1, 2, 3, 2, 1]
    assert sum(durations) == 1500


@pytest.mark.parametrize("palette", ["global", "frame"])
def test_loop_is_in_the_file(tmp_path, palette):
    for loop, expected in (("forward", 0), ("pingpong", 0), ("none", None)):
        path = save_animation(BALLS, tmp_path / f"{loop}.gif", loop=loop, palette=palette)
        with Image.open(path) as image:
            assert image.info.get("loop") == expected
        assert (b"NETSCAPE2.0" in path.read_bytes()) == (expected == 0)
    for loop, expected in (("forward", 0), ("none", 1)):
        with Image.open(save_animation(BALLS, tmp_path / f"{loop}.webp", loop=loop)) as image:
            assert image.info["loop"] == expected


def test_mp4_of_odd_size_gains_edge_pixels(tmp_path):
    odd = [ball(k, (63, 47)) for k in range(3)]
    frames, _ = read_frames(save_animation(odd, tmp_path / "odd.mp4"))
    assert [frame.size for frame in frames] == [(64, 48)] * 3
    assert psnr(frames[1].crop((0, 0, 63, 47)), odd[1]) > 28
    column = np.asarray(frames[1], int)[:47, 62:]
    assert np.abs(column[:, 1] - column[:, 0]).mean() < 4


# --------------------------------------------------------------------------------------------------------- palettes


def flicker(path: Path) -> float:
    """Mean change between neighbouring frames where the ball never is: the top 20 rows stand still."""
    stack = np.stack([np.asarray(frame, float)[:20] for frame in read_frames(path)[0]])
    return np.abs(np.diff(stack, axis=0)).mean()


def test_global_palette_has_no_flicker_and_one_table(tmp_path):
    shared = save_animation(BALLS, tmp_path / "global.gif", palette="global")
    own = save_animation(BALLS, tmp_path / "frame.gif", palette="frame")
    assert flicker(shared) == 0.0
    assert flicker(own) > 0.1  # so the zero above says something
    data = shared.read_bytes()
    assert data.count(data[13 : 13 + 768]) == 1  # the table after the 13 bytes of the header is the only one
    assert shared.stat().st_size < own.stat().st_size / 1.5
    colours = {c for frame in read_frames(shared)[0] for _, c in frame.getcolors(1 << 16)}
    assert len(colours) <= 256
    assert sum(psnr(a, b) for a, b in zip(read_frames(own)[0], BALLS, strict=True)) > sum(
        psnr(a, b) for a, b in zip(read_frames(shared)[0], BALLS, strict=True)
    )


def test_auto_palette_follows_its_rule(tmp_path):
    rushing = [rush(k) for k in range(6)]
    assert choose_palette(BALLS) == "global"  # most of it stands still
    assert choose_palette(rushing) == "frame"  # all of it moves and its own palettes are closer
    assert choose_palette(BALLS[:1]) == "global"
    flat = [Image.new("RGB", (16, 16), (40 * k, 0, 0)) for k in range(5)]
    assert choose_palette(flat) == "global"  # all of it moves, but a palette for each frame gains nothing
    for frames, chosen in ((BALLS, "global"), (rushing, "frame")):
        auto = save_animation(frames, tmp_path / "auto.gif").read_bytes()
        assert auto == save_animation(frames, tmp_path / "named.gif", palette=chosen).read_bytes()


def test_global_palette_of_many_pixels_is_sampled(tmp_path):
    large = [ball(0, (128, 96)).resize((1024, 1024 + 256 * k), Image.Resampling.NEAREST) for k in (0, 1)]
    large = [large[0].resize(large[1].size, Image.Resampling.NEAREST), large[1].transpose(0), large[1].transpose(1)]
    total = sum(frame.width * frame.height for frame in large)
    assert total < gifs.PALETTE_PIXELS < 2 * total  # so that six frames are sampled and three are not
    few, _ = read_frames(save_animation(large, tmp_path / "few.gif", palette="global"))
    many, _ = read_frames(save_animation(large * 2, tmp_path / "many.gif", palette="global"))
    for frame, sampled, original in zip(few, many[:3], large, strict=True):
        assert psnr(sampled, original) > psnr(frame, original) - 0.5 > 30


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["ball", "ball.png", "ball.gif.txt", ""])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(ValueError, match=r"format of .*\.gif, \.webp, \.mp4"):
        check_output(tmp_path / name)


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist: create it"):
        check_output(tmp_path / "none" / "ball.gif")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.gif").mkdir()
    for path in (tmp_path / "file" / "a.gif", tmp_path / "folder.gif", tmp_path / f"{'a' * 300}.gif", "/proc/a.gif"):
        with pytest.raises(ValueError, match=r"(Cannot write|is a folder).*: (choose|give)"):
            check_output(path)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        root = os.geteuid() == 0
        if root:  # root may write anywhere, so this is tried as nobody
            os.seteuid(65534)
        try:
            with pytest.raises(ValueError, match="Permission denied"):
                check_output(Path(folder, "ball.gif"))
        finally:
            if root:
                os.seteuid(0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.gif"]


def test_check_leaves_no_trace(tmp_path):
    assert check_output(str(tmp_path / "BALL.GIF")) == tmp_path / "BALL.GIF"
    (tmp_path / "old.gif").write_bytes(b"old")
    check_output(tmp_path / "old.gif")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("old.gif", b"old")]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"fps": 0}, "fps is 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": 51}, "fps is 51"),
        ({"loop": "round"}, "Unknown loop 'round'.*pingpong"),
        ({"palette": "web"}, "Unknown palette 'web'.*global"),
        ({"frames": []}, "no frames"),
        ({"frames": [BALLS[0], ball(0, (32, 32))]}, r"\(32, 32\).*\(64, 48\)"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        save_animation(**{"frames": BALLS, "path": tmp_path / "ball.gif", **changes})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["gif", "webp", "mp4"])
def test_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path, kind):
    path = tmp_path / f"ball.{kind}"
    path.write_bytes(b"old")
    with full_disk(), pytest.raises(OSError, match="Could not write .*free some space") as caught:
        save_animation(BALLS, path)
    assert "\n" not in str(caught.value) and caught.value.__cause__.errno in (errno.EFBIG, errno.ENOSPC)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(path.name, b"old")]


@pytest.mark.parametrize("kind", ["gif", "webp", "mp4"])
def test_ctrl_c_keeps_the_old_file_and_leaves_nothing(tmp_path, kind):
    """A real SIGINT at the worst moment, the temporary file complete and not yet renamed, chosen by an audit hook."""
    path, seen = tmp_path / f"ball.{kind}", []
    path.write_bytes(b"old")

    def interrupt(event, arguments):
        if event == "os.rename" and str(arguments[1]) == str(path) and not seen:
            seen.extend(p.name for p in tmp_path.iterdir())
            signal.raise_signal(signal.SIGINT)

    sys.addaudithook(interrupt)  # cannot be removed, but no other test writes to this path
    with pytest.raises(KeyboardInterrupt):
        save_animation(BALLS, path)
    assert len(seen) == 2  # the old file and the temporary one
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(path.name, b"old")]


def test_an_animation_in_memory_is_the_file(tmp_path):
    for suffix in (".gif", ".webp"):
        path = save_animation(BALLS, tmp_path / f"a{suffix}", fps=10, loop="pingpong")
        assert encode_animation(BALLS, suffix, fps=10, loop="pingpong") == path.read_bytes()
    with pytest.raises(ValueError, match="Unknown format '.png'"):
        encode_animation(BALLS, ".png")


def test_an_mp4_without_pyav_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)  # how Python says that a module is not to be had
    needs = r"^An mp4 needs PyAV: run `pip install 'pix2gif-lite\[video\]'`\.$"
    with pytest.raises(ImportError, match=needs):
        check_output(tmp_path / "a.mp4")  # which is asked before any model runs
    with pytest.raises(ImportError, match=needs):
        encode_animation(BALLS, ".mp4")
    assert check_output(tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_a_shared_palette_holds_each_colour_once():
    """Else Pillow compares all with all, for every frame."""
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "teal", "white")]
    shared = gifs._with_global_palette(frames)
    found = shared[0].getpalette()
    colours = list(zip(found[::3], found[1::3], found[2::3], strict=True))
    assert len(colours) == len(set(colours)) <= 4 and set(colours) >= {(255, 0, 0), (0, 128, 128), (255, 255, 255)}
    assert [frame.convert("RGB").getpixel((0, 0)) for frame in shared] == [frame.getpixel((0, 0)) for frame in frames]
