"""Names of what the scenes can hold: things, by colour and pattern, and stuff."""

from __future__ import annotations

COLOURS = {
    "red": (0.80, 0.10, 0.11),
    "orange": (0.95, 0.48, 0.06),
    "yellow": (0.96, 0.82, 0.12),
    "green": (0.12, 0.56, 0.22),
    "blue": (0.12, 0.30, 0.80),
    "purple": (0.48, 0.16, 0.66),
    "pink": (0.95, 0.45, 0.66),
    "black": (0.10, 0.10, 0.12),
}
"""RGB, 0 to 1, before jitter and light."""

PATTERNS = ("plain", "striped", "dotted", "checked")

THINGS = tuple(f"{colour} {pattern}" for colour in COLOURS for pattern in PATTERNS)
"""Every colour in every pattern: a colour names four things and a pattern eight, so that it takes both to tell one."""

HELD_OUT = ("red dotted", "yellow striped", "green checked", "blue striped", "purple dotted", "pink checked")
"""Never drawn in training scenes. Of each, the colour and the pattern are known from others."""

SEEN = tuple(name for name in THINGS if name not in HELD_OUT)

STUFF = ("grass", "sand", "water", "brick", "sky", "wood")

ALL_NAMES = THINGS + STUFF
"""The names that label maps index."""

FIRST_TEST_SEED = 1_000_000
"""Training draws only scenes below this seed; evaluation takes them from here on."""


def parts(name: str) -> tuple[str, str]:
    """Colour and pattern of a thing's name."""
    colour, pattern = name.split(" ")
    return colour, pattern
