"""paper_tables.py: the lists and tables are consistent in themselves, and are those that the paper prints."""

from __future__ import annotations

from pix2gif_lite.evaluation.ablation import SCALES
from pix2gif_lite.evaluation.fvd import FRAMES
from pix2gif_lite.evaluation.paper_tables import TABLE_1, TABLE_2, ZERO_SHOT_MOTIONS
from pix2gif_lite.evaluation.video_folders import LAYOUTS
from pix2gif_lite.presets import MOTION_MAX, MOTION_MIN


def test_the_sixteen_motions_rise_from_end_to_end():
    assert len(ZERO_SHOT_MOTIONS) == FRAMES == 16
    assert list(ZERO_SHOT_MOTIONS) == sorted(set(ZERO_SHOT_MOTIONS))
    assert ZERO_SHOT_MOTIONS[:8] == (2, 3, 4, 5, 6, 8, 9, 11)  # as the paper writes them out
    assert ZERO_SHOT_MOTIONS[0] == MOTION_MIN and MOTION_MAX > ZERO_SHOT_MOTIONS[-1] == 19


def test_every_method_has_every_column_and_the_paper_wins_where_it_says():
    assert all(set(row) == set(LAYOUTS) for row in TABLE_1.values())
    for layout in LAYOUTS:
        ours = TABLE_1["Pix2Gif"][layout]
        others = [row[layout] for name, row in TABLE_1.items() if name != "Pix2Gif"]
        assert all(ours.fvd < other.fvd and ours.pic > other.pic for other in others)
        assert max(other.clipsim for other in others) > ours.clipsim  # in neither data set is it the best there
    assert all(set(row) == set(SCALES) - {1.0} for row in TABLE_2.values())
    assert all(TABLE_2["Pix2Gif"][s].l2 < TABLE_2["Pix2Gif-Base"][s].l2 < TABLE_2["InstructPix2Pix"][s].l2 for s in SCALES[1:])
