"""Words for the default data: what a subject does, where, and the several ways to say it, in the manner of TGIF's captions."""

from __future__ import annotations

import random

PLACES = {
    "hills": ("over green hills", "above the hills", "on a sunny day", "in the countryside"),
    "sunset": ("at sunset", "in the evening", "under an orange sky", "as the sun goes down"),
    "night": ("at night", "under the stars", "in the moonlight", "in the dark"),
    "sea": ("at sea", "by the sea", "above the blue water", "on the ocean"),
    "underwater": ("under water", "in the deep sea", "among the bubbles", "in clear water"),
    "desert": ("in the desert", "over the sand", "among the dunes", "in the hot sun"),
    "snow": ("in the snow", "in winter", "over white fields", "on a cold day"),
    "meadow": ("in a meadow", "over the grass", "in spring", "on a fine day"),
}

# "{way}" is where the direction stands; a phrase without it leaves the direction to what the picture shows.
PHRASES = {
    "rise": ("is rising", "rises up", "is floating up", "goes up slowly"),
    "fall": ("is falling", "falls down", "is coming down", "sinks down slowly"),
    "drift": ("is drifting {way}", "drifts {way}", "floats {way}", "is carried {way}"),
    "fly": ("is flying", "is flying {way}", "flies {way}", "flies by"),
    "sail": ("is sailing", "is sailing {way}", "sails {way}", "glides {way} on the water"),
    "drive": ("is driving", "is driving {way}", "drives {way}", "rolls along"),
    "swim": ("is swimming", "is swimming {way}", "swims {way}", "swims by"),
    "bounce": ("is bouncing", "bounces up", "jumps up", "is leaping into the air"),
    "roll": ("is rolling {way}", "rolls {way}", "rolls over {way}", "is rolling along {way}"),
    "spin": ("is spinning {turn}", "spins {turn}", "is turning {turn}", "turns {turn}"),
    "swing": ("is swinging {way}", "swings {way}", "swings gently {way}", "is swaying on its cord {way}"),
    "sway": ("is swaying {way}", "sways {way}", "bends {way} in the wind", "is leaning {way}"),
    "rock": ("is rocking {way}", "rocks {way}", "tips {way}", "is tilting {way}"),
    "grow": ("is growing", "grows bigger", "gets bigger and bigger", "is getting larger"),
    "wander": ("is wandering", "is wandering about", "goes wherever it likes", "flutters around"),
    "blow": ("is blown about", "is tossed by the wind", "tumbles in the wind", "is carried off by a gust"),
    "still": ("stands still", "is resting", "does not move", "waits"),
}

WAYS = {"left": "to the left", "right": "to the right"}
TURNS = {"left": ("counterclockwise", "to the left"), "right": ("clockwise", "to the right")}


def article(words: str) -> str:
    """'orange ball' -> 'an orange ball'."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def describe(rng: random.Random, colour: str, subject: str, action: str, way: str) -> str:
    """One actor and what it does: 'a red balloon is rising'."""
    turn = rng.choice(TURNS[way]) if way in TURNS else ""
    name = article(f"{colour} {subject}") if rng.random() < 0.8 else f"the {colour} {subject}"
    return f"{name} {rng.choice(PHRASES[action]).format(way=WAYS.get(way, ''), turn=turn)}"


def caption(rng: random.Random, clauses: list[str], backdrop: str, still: str | None) -> str:
    """The whole caption: one or two clauses, perhaps a still companion, perhaps the place, in either order."""
    text = rng.choice((" and ", " while ")).join(clauses)
    if still is not None:
        text += f" {rng.choice(('beside', 'next to', 'near'))} {article(still)}"
    place = rng.choice(PLACES[backdrop])
    order = rng.random()
    if order < 0.6:
        return f"{text} {place}"
    if order < 0.75:
        return f"{place}, {text}"
    return text
