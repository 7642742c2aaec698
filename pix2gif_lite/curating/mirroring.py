"""What a caption says of the mirrored picture: left and right change places, and turns go the other way round."""

from __future__ import annotations

import re

OTHER = {"left": "right", "leftward": "rightward", "leftwards": "rightwards"}
OTHER |= {right: left for left, right in OTHER.items()}
OTHER |= {"clockwise": "counterclockwise"}
OTHER |= {f"{against}{dash}clockwise": "clockwise" for against in ("counter", "anti") for dash in ("", "-")}
WORD = re.compile(rf"\b({'|'.join(sorted(OTHER, key=len, reverse=True))})\b", re.IGNORECASE)


def flip_caption(caption: str) -> str:
    """The caption of the mirrored picture: left and right, clockwise and counterclockwise change places, as whole words.

    Capitals stay where they are. It knows no grammar: "he left" becomes "he right".
    """
    return WORD.sub(lambda found: _cased_like(OTHER[found[0].lower()], found[0]), caption)


def _cased_like(word: str, model: str) -> str:
    return word.upper() if model.isupper() else word.capitalize() if model[0].isupper() else word
