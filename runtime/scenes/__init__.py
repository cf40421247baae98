"""Drawn scenes and clips: pictures of things and stuff with exact label maps, for the models in the package and tests.

Pictures are seeded, and need numpy and OpenCV alone.
"""

from .draw import Scene, draw_scene
from .moving import Clip, draw_clip
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
    "Clip",
    "Scene",
    "draw_clip",
    "draw_scene",
]
