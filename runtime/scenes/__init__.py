"""Drawn scenes: pictures of things and stuff with exact label maps, for the models in the package and for tests.

Pictures are seeded, and need numpy and OpenCV alone.
"""

from .draw import Scene, draw_scene
from .names import ALL_NAMES, COLOURS, FIRST_TEST_SEED, HELD_OUT, PATTERNS, SEEN, STUFF, THINGS

__all__ = [
    "ALL_NAMES",
    "COLOURS",
    "FIRST_TEST_SEED",
    "HELD_OUT",
    "PATTERNS",
    "SEEN",
    "STUFF",
    "THINGS",
    "Scene",
    "draw_scene",
]
