"""clips.py: every kind of animation is read with its times and on its background, told by its content; limits hold."""

from __future__ import annotations

import gc
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite import gifs
from pix2gif_lite.gifs import save_animation
from pix2gif_lite.media.clips import find_clips, iter_frames, read_frames
from pix2gif_lite.media.pictures import open_image


def ball(k: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A ball that moves 4 px a frame before a still gradient of some 3,000 colours."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    sky = np.stack([120 + 2 * y, 150 + x, 220 - y], -1)
    inside = np.hypot(x - 10 - 4 * k, y - 34) < 8
    return Image.fromarray(np.where(inside[..., None], (220, 40, 60), sky).clip(0, 255).astype(np.uint8))


def same(a: Image.Image, b: Image.Image) -> bool:
    return (np.asarray(a) == np.asarray(b)).all()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


BALLS = [ball(k) for k in range(6)]


def test_gifs_and_clips_read_alike():
    assert gifs.read_frames is read_frames


# ----------------------------------------------------------------------------------------------------- kinds and times


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_times_of_each_frame(tmp_path, kind):
    path, times = tmp_path / f"ball.{kind}", [100, 20, 300, 4000, 10]
    options = {"lossless": True} if kind == "webp" else {}
    BALLS[0].save(path, save_all=True, append_images=BALLS[1:5], duration=times, **options)
    frames, durations = read_frames(path)
    assert durations == times
    if kind != "gif":
        assert all(same(a, b) for a, b in zip(frames, BALLS[:5], strict=True))


def test_a_frame_without_a_time_shows_for_100_ms(tmp_path):
    for kind in ("gif", "webp", "png"):
        BALLS[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=BALLS[1:3], duration=0)
        assert read_frames(tmp_path / f"a.{kind}")[1] == [100] * 3


def test_times_of_a_third_of_a_second_sum_to_the_whole(tmp_path):
    BALLS[0].save(tmp_path / "a.png", save_all=True, append_images=BALLS[1:], duration=100)
    data = (tmp_path / "a.png").read_bytes()
    at = 0
    while (at := data.find(b"fcTL", at + 1)) >= 0:
        body = data[at : at + 24] + struct.pack(">HH", 1, 3) + data[at + 28 : at + 30]
        data = data[:at] + body + struct.pack(">I", zlib.crc32(body)) + data[at + 34 :]
    (tmp_path / "a.png").write_bytes(data)
    assert read_frames(tmp_path / "a.png")[1] == [333, 334, 333] * 2


def test_apng_and_its_cover(tmp_path):
    path = tmp_path / "ball.png"
    BALLS[0].save(path, save_all=True, append_images=BALLS[1:4], duration=[100, 200, 300, 400])
    frames, durations = read_frames(path)
    assert durations == [100, 200, 300, 400]
    assert all(same(a, b) for a, b in zip(frames, BALLS[:4], strict=True))
    ball(9).save(path, save_all=True, default_image=True, append_images=BALLS[:2], duration=[70, 80])
    frames, durations = read_frames(path)
    assert durations == [70, 80] and same(frames[0], BALLS[0])


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "folder"])
@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 30)])
def test_transparency_of_each_frame_lies_on_the_background(tmp_path, kind, background):
    """A ball that moves over nothing: no trace of it may stay behind."""
    y, x = np.mgrid[0:48, 0:64]
    frames = []
    for k in range(4):
        alpha = np.where(np.hypot(x - 10 - 12 * k, y - 24) < 8, 255, 0)
        if kind != "gif":
            alpha = alpha // (k + 1)
        frames.append(np.dstack([np.broadcast_to(np.array([220, 40, 60]), (48, 64, 3)), alpha]).astype(np.uint8))
    images = [Image.fromarray(frame) for frame in frames]
    path = tmp_path / f"a.{kind}"
    if kind == "folder":
        path.mkdir()
        for k, image in enumerate(images):
            image.save(path / f"{k}.png")
    else:
        options = {"webp": {"lossless": True, "exact": True}, "gif": {"disposal": 2}}.get(kind, {})
        images[0].save(path, save_all=True, append_images=images[1:], duration=80, **options)
    got, _ = read_frames(path, background=background)
    assert len(got) == 4
    for frame, rgba in zip(got, frames, strict=True):
        share = rgba[..., 3:] / 255
        assert np.abs(np.asarray(frame) - (rgba[..., :3] * share + np.array(background) * (1 - share))).max() <= 1


def test_a_background_that_is_no_colour(tmp_path):
    path = save_animation(BALLS, tmp_path / "a.gif")
    for colour in ((1, 2), (0, 0, 256), (-1, 0, 0), (0.5, 0, 0)):
        with pytest.raises(ValueError, match=r"The background is \(.*from 0 to 255"):
            read_frames(path, background=colour)
        with pytest.raises(ValueError, match="The background is"):
            open_image(path, background=colour)


def test_still_picture_is_one_frame(tmp_path):
    for kind in ("png", "gif", "webp", "jpg"):
        BALLS[0].save(tmp_path / f"still.{kind}")
        frames, durations = read_frames(tmp_path / f"still.{kind}")
        assert len(frames) == 1 and durations == [100]
        assert same(frames[0], open_image(tmp_path / f"still.{kind}"))


# ------------------------------------------------------------------------------------------- folders of numbered pictures


def test_folder_of_numbered_pictures_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1, 2):
        ball(number).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("1")
    (tmp_path / "._frame3.png").write_bytes(b"what macOS leaves beside a file")
    frames, durations = read_frames(tmp_path)
    assert durations == [250] * 4
    assert all(same(frame, ball(number)) for frame, number in zip(frames, (1, 2, 9, 10), strict=True))
    with pytest.raises(ValueError, match="more than 3 frames"):
        read_frames(tmp_path, max_frames=3)
    ball(3, (32, 32)).save(tmp_path / "frame11.png")
    with pytest.raises(ValueError, match="make them one size"):
        read_frames(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no numbered pictures: name them 001\.png"):
        read_frames(tmp_path / "none")


def test_two_series_in_one_folder_are_not_mixed(tmp_path):
    for number in range(3):
        ball(number).save(tmp_path / f"walk{number}.png")
        ball(number).save(tmp_path / f"climb{number}.png")
    with pytest.raises(ValueError, match=r"several series \(climb#, walk#\): put each into a folder"):
        read_frames(tmp_path)


# ---------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "mp4"])
def test_limits_on_frames_and_pixels(tmp_path, kind):
    path = tmp_path / f"ball.{kind}"
    if kind == "png":
        BALLS[0].save(path, save_all=True, append_images=BALLS[1:])
    else:
        save_animation(BALLS, path)
    assert len(read_frames(path, max_frames=6, max_pixels=6 * 64 * 48)[0]) == 6
    for limit in ({"max_frames": 5}, {"max_pixels": 6 * 64 * 48 - 1}):
        with pytest.raises(ValueError, match=r"ball.*has more than .*: shorten it"):
            read_frames(path, **limit)
        if kind != "mp4":  # told from the header, before the first frame
            with pytest.raises(ValueError, match="shorten it"):
                next(iter_frames(path, **limit))


def one_after_another(count: int, size: tuple[int, int] = (16, 16), last: tuple[int, int] = (1, 1)) -> bytes:
    """A GIF whose screen has `size`, of `count` patches that hold one pixel's data; the last one claims a size of its own."""
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control, pixel = b"!\xf9\x04\0\x05\0\0\0", b"\x02\x02\x44\x01\0"
    patches = [control + b"," + struct.pack("<HHHHB", 0, 0, *patch, 0) + pixel for patch in ((1, 1), last)]
    return head + patches[0] * (count - 1) + patches[1] + b";"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (one_after_another(10_000), "more than 1000 frames"),
        (one_after_another(2, (30_000, 30_000)), "more than 50,000,000 pixels"),
        (one_after_another(2, (9_000, 9_000)), "9000 x 9000 px, more than 50,000,000 pixels"),
        (one_after_another(900, (2_000, 2_000)), "more than 1000 frames or 2,000,000,000 pixels"),
        (one_after_another(2, (1, 1)), "1 x 1 px: use a picture of at least 8 px"),
        (one_after_another(1, last=(60_000, 60_000)), "more than 50,000,000 pixels"),
        (one_after_another(2, last=(9_999, 9_999)), "damaged"),
    ],
)
def test_what_is_too_large_is_refused_before_it_needs_memory(tmp_path, data, said):
    path = tmp_path / "a.gif"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=said):
            for _ in iter_frames(path):
                pass
        assert tracemalloc.get_traced_memory()[1] < 2e6  # Python's own; Pillow's is measured in test_fuzz.py
    finally:
        tracemalloc.stop()


def test_as_many_frames_as_allowed(tmp_path):
    (tmp_path / "a.gif").write_bytes(one_after_another(1000))
    frames, durations = read_frames(tmp_path / "a.gif")
    assert len(frames) == 1000 and durations == [50] * 1000


# ------------------------------------------------------------------------------------------------ damaged, mislabelled


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "mp4"])
def test_damaged_animations(tmp_path, kind):
    path = tmp_path / f"ball.{kind}"
    if kind == "png":
        BALLS[0].save(path, save_all=True, append_images=BALLS[1:])
    else:
        save_animation(BALLS, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = open_files()
    with pytest.raises(ValueError, match="is damaged"):
        read_frames(path)
    assert open_files() == before


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "mp4"])
@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.mp4", "a.jpg", "a"])
def test_a_file_is_what_it_holds_whatever_its_name(tmp_path, kind, name):
    path = tmp_path / f"ball.{kind}"
    if kind == "png":
        BALLS[0].save(path, save_all=True, append_images=BALLS[1:])
    else:
        save_animation(BALLS, path)
    expected, times = read_frames(path)
    other = path.rename(tmp_path / name)
    frames, durations = read_frames(other)
    assert durations == times and all(same(a, b) for a, b in zip(frames, expected, strict=True))


def test_video_that_is_no_video(tmp_path):
    save_animation(BALLS, tmp_path / "real.mp4")
    real = (tmp_path / "real.mp4").read_bytes()
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/real.mp4\n#EXT-X-ENDLIST\n".encode()
    for name, data in {
        "text.mp4": b"hello " * 200,
        "text.gif": b"hello " * 200,
        "list.mp4": playlist,
        "concat.mp4": f"ffconcat version 1.0\nfile {tmp_path}/real.mp4\n".encode(),
        "disguised.mp4": real[:12] + playlist,  # begins as an mp4
        "late.mp4": b"1234" + real,
        "short.gif": b"GIF89a",
        "bare.gif": b"GIF89a" + struct.pack("<HHBBB", 64, 48, 0, 0, 0) + b";",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}.*damaged or of an unknown kind"):
            read_frames(tmp_path / name)
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match="0 bytes"):
        read_frames(tmp_path / "empty.mp4")
    for thing in (None, 3, b"a.gif", ["a.gif"]):
        with pytest.raises(ValueError, match="is not a file"):
            read_frames(thing)


def test_a_reader_that_stops_early_leaves_no_file_open(tmp_path):
    for kind in ("gif", "webp", "mp4"):
        frames = iter_frames(save_animation(BALLS, tmp_path / f"a.{kind}"))
        before = open_files()
        next(frames)
        assert open_files() == before + 1
        frames.close()
        gc.collect()
        assert open_files() == before


# ------------------------------------------------------------------------------------------------------------ finding


def test_clips_below_a_folder(tmp_path):
    folder = tmp_path / "clips"
    outside = tmp_path / "outside"
    for place in (folder / "b" / "deep", folder / "walk", folder / "single", folder / "numbers", folder / ".hidden", outside):
        place.mkdir(parents=True)
    animation = save_animation(BALLS, outside / "a.gif")
    for name in ("z.gif", "A.GIF", "b/deep/c.gif", "numbers/1.gif", "numbers/2.gif", ".hidden/h.gif", "._z.gif", "text.txt"):
        (folder / name).write_bytes(animation.read_bytes())
    (folder / "movie.MP4").write_bytes(b"not read yet")
    (folder / "named.gif").mkdir()
    BALLS[0].save(folder / "still.png")
    BALLS[0].save(folder / "still.webp")
    (folder / "bad.png").write_bytes(b"bad")
    (folder / "bad.apng").write_bytes(b"bad")
    BALLS[0].save(folder / "moving.png", save_all=True, append_images=BALLS[1:])
    BALLS[0].save(folder / "moving.webp", save_all=True, append_images=BALLS[1:])
    for k in (1, 2):
        BALLS[k].save(folder / f"{k}.png")  # in the folder itself
        BALLS[k].save(folder / "walk" / f"{k}.png")
        BALLS[k].save(outside / f"{k}.png")
    BALLS[0].save(folder / "single" / "1.png")
    (folder / "out.gif").symlink_to(animation)
    (folder / "within.gif").symlink_to(folder / "z.gif")
    (folder / "dangling.gif").symlink_to(folder / "none.gif")
    (folder / "linked").symlink_to(outside)
    (folder / "half").mkdir()
    for k in (1, 2):
        (folder / "half" / f"{k}.png").symlink_to(outside / f"{k}.png")
    os.mkfifo(folder / "pipe.gif")
    expected = ["A.GIF", "b/deep/c.gif", "bad.apng", "movie.MP4", "moving.png", "moving.webp", "numbers/1.gif", "numbers/2.gif"]
    assert find_clips(folder) == [folder / name for name in [*expected, "walk", "within.gif", "z.gif"]]
    assert find_clips(str(folder / "single")) == []
    with pytest.raises(FileNotFoundError, match="no folder"):
        find_clips(folder / "none")
