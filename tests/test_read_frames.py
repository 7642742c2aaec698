"""pictures.py, animations: every kind is read with its times, and limits and damage are refused in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pix2gif_lite.gifs import save_animation
from pix2gif_lite.pictures import open_image, read_frames


def ball(k: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A ball that moves 4 px a frame before a still gradient of some 3,000 colours."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    sky = np.stack([120 + 2 * y, 150 + x, 220 - y], -1)
    inside = np.hypot(x - 10 - 4 * k, y - 34) < 8
    return Image.fromarray(np.where(inside[..., None], (220, 40, 60), sky).clip(0, 255).astype(np.uint8))


BALLS = [ball(k) for k in range(6)]


def test_apng_and_its_cover(tmp_path):
    path = tmp_path / "ball.png"
    BALLS[0].save(path, save_all=True, append_images=BALLS[1:4], duration=[100, 200, 300, 400])
    frames, durations = read_frames(path)
    assert durations == [100, 200, 300, 400]
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(frames, BALLS[:4], strict=True))
    ball(9).save(path, save_all=True, default_image=True, append_images=BALLS[:2], duration=[70, 80])
    frames, durations = read_frames(path)
    assert durations == [70, 80] and (np.asarray(frames[0]) == np.asarray(BALLS[0])).all()


def test_folder_of_numbered_pictures_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 1, 2):
        ball(number).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("1")
    frames, durations = read_frames(tmp_path)
    assert durations == [250] * 4
    for frame, number in zip(frames, (1, 2, 9, 10), strict=True):
        assert (np.asarray(frame) == np.asarray(ball(number))).all()
    ball(3, (32, 32)).save(tmp_path / "frame11.png")
    with pytest.raises(ValueError, match="make them one size"):
        read_frames(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no numbered pictures: name them 001\.png"):
        read_frames(tmp_path / "none")


def test_still_picture_is_one_frame(tmp_path):
    BALLS[0].save(tmp_path / "still.png")
    frames, durations = read_frames(tmp_path / "still.png")
    assert len(frames) == 1 and durations == [100]
    assert (np.asarray(frames[0]) == np.asarray(open_image(tmp_path / "still.png"))).all()


@pytest.mark.parametrize("kind", ["gif", "webp", "mp4"])
def test_limits_on_frames_and_pixels(tmp_path, kind):
    path = save_animation(BALLS, tmp_path / f"ball.{kind}")
    assert len(read_frames(path, max_frames=6, max_pixels=6 * 64 * 48)[0]) == 6
    for limit in ({"max_frames": 5}, {"max_pixels": 6 * 64 * 48 - 1}):
        with pytest.raises(ValueError, match=r"ball.*has more than .*: shorten it"):
            read_frames(path, **limit)


@pytest.mark.parametrize("kind", ["gif", "webp", "png", "mp4"])
def test_damaged_animations(tmp_path, kind):
    path = tmp_path / f"ball.{kind}"
    if kind == "png":
        BALLS[0].save(path, save_all=True, append_images=BALLS[1:])
    else:
        save_animation(BALLS, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="is damaged"):
        read_frames(path)


def test_video_that_is_no_video(tmp_path):
    save_animation(BALLS, tmp_path / "real.mp4")
    for name, text in {
        "text.mp4": "hello " * 200,
        "list.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/real.mp4\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {tmp_path}/real.mp4\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}.*damaged or of an unknown kind"):
            read_frames(tmp_path / name)
    save_animation(BALLS, tmp_path / "real.gif").rename(tmp_path / "gif.mp4")
    with pytest.raises(ValueError, match=r"gif\.mp4.*unknown kind"):  # FFmpeg could: only video containers may pass
        read_frames(tmp_path / "gif.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match="0 bytes"):
        read_frames(tmp_path / "empty.mp4")
