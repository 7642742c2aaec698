"""The paper's own results, Tables 1 and 2, as data: to stand beside ours, marked as the paper's.

They are on other pictures (UCF-101, MSR-VTT, TGIF), at 256 x 256 and by a model of another size, so they say how large an
effect was there, not what ours should reach.
"""

from __future__ import annotations

from typing import NamedTuple

# Of the frames of a generated clip in Table 1: 2 to 11 without 7 and 10, then each whole number to 19.
ZERO_SHOT_MOTIONS = (2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19)


class ZeroShot(NamedTuple):
    """One method on one data set, as Table 1 has it."""

    fvd: float  # Frechet video distance on I3D features; lower is better
    clipsim: float  # CLIPScore of frames and caption, as a cosine; higher is better
    pic: float  # mean over frames of 1 - DreamSim(first frame, frame); higher is better


class Coherency(NamedTuple):
    """One method at one s_I, as Table 2 has it: asked against measured motion, both averaged over the samples."""

    l2: float  # px at 256 x 256, over the eight motions; lower is better
    pearson: float  # higher is better


# Method: by data set, named as `--layout` has it.
TABLE_1 = {
    "I2VGen-XL": {"ucf101": ZeroShot(563.12, 0.2865, 0.6329), "msrvtt": ZeroShot(278.62, 0.2272, 0.6018)},
    "DynamiCrafter": {"ucf101": ZeroShot(527.06, 0.2796, 0.6307), "msrvtt": ZeroShot(271.63, 0.2602, 0.6135)},
    "Pix2Gif": {"ucf101": ZeroShot(285.02, 0.2815, 0.8763), "msrvtt": ZeroShot(168.69, 0.2573, 0.8521)},
}

# Method: by s_I. Base: InstructPix2Pix trained on the paper's data, with the motion in words alone.
TABLE_2 = {
    "InstructPix2Pix": {
        1.4: Coherency(23.429, -0.229),
        1.6: Coherency(25.492, -0.028),
        1.8: Coherency(27.037, -0.423),
        2.0: Coherency(27.530, 0.139),
    },
    "Pix2Gif-Base": {
        1.4: Coherency(7.580, 0.989),
        1.6: Coherency(5.188, 0.987),
        1.8: Coherency(5.595, 0.992),
        2.0: Coherency(7.029, 0.991),
    },
    "Pix2Gif": {
        1.4: Coherency(1.746, 0.995),
        1.6: Coherency(1.972, 0.995),
        1.8: Coherency(2.944, 0.997),
        2.0: Coherency(4.076, 0.997),
    },
}
