"""curation_bench.py on a short clip: what it compares is the same, and it counts right. How fast it is, no test says."""

import pytest
from made_clips import pan, save

from pix2gif_lite.curating.curation_bench import FRAMES, bench, load


def test_both_ways_measure_the_same_pairs(tmp_path):
    result = bench([save(tmp_path / "a.webp", pan(3, 4, size=300)), save(tmp_path / "b.gif", pan(2, 3))], workers=1, repeats=1)
    assert result["pairs"] == 6 + 3 and result["error"] < 1e-3
    assert result["times"] == pytest.approx(result["ours"] / result["plain"])
    assert result["times_small"] == pytest.approx(result["ours"] / result["plain_small"])


def test_no_more_frames_are_read_than_compared(tmp_path):
    assert [len(clip) for clip in load([save(tmp_path / "long.gif", pan(1, FRAMES + 9, size=32))])] == [FRAMES]
    with pytest.raises(ValueError, match="'.*one.gif' has one frame: give"):
        load([save(tmp_path / "one.gif", pan(1, 1, size=32))])
