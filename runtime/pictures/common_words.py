"""Colours that people expect: of things that mostly have one, and of colours' own names."""

from __future__ import annotations

from typing import NamedTuple

RGB = tuple[int, int, int]


class Expected(NamedTuple):
    """What is expected of a word."""

    rgb: RGB
    names_colour: bool
    """Whether the word is a colour's own name."""


NAMES: dict[str, RGB] = {
    "beige": (225, 205, 160),
    "black": (45, 45, 45),
    "blue": (45, 90, 220),
    "brown": (140, 85, 45),
    "cyan": (40, 200, 215),
    "gold": (220, 175, 40),
    "golden": (220, 175, 40),
    "gray": (130, 130, 130),
    "green": (50, 165, 60),
    "grey": (130, 130, 130),
    "magenta": (215, 45, 190),
    "orange": (245, 140, 30),
    "pink": (245, 150, 185),
    "purple": (135, 60, 170),
    "red": (215, 45, 40),
    "silver": (185, 190, 195),
    "turquoise": (60, 190, 175),
    "violet": (145, 80, 205),
    "white": (235, 235, 235),
    "yellow": (240, 215, 50),
}

THINGS: dict[RGB, str] = {
    (70, 70, 70): "background unlabeled unlabelled void",
    (110, 180, 235): "sky",
    (205, 220, 235): "cloud clouds fog mist",
    (35, 105, 200): "water sea ocean river lake pool waterfall",
    (230, 240, 250): "snow ice",
    (85, 180, 70): "grass lawn meadow field",
    (35, 115, 45): "tree trees forest bush hedge leaf leaves",
    (75, 150, 60): "plant plants vegetation moss",
    (215, 190, 130): "sand beach desert",
    (120, 85, 60): "soil earth dirt mud ground",
    (150, 140, 130): "rock rocks stone mountain hill cliff gravel",
    (100, 100, 110): "road street asphalt pavement highway",
    (190, 165, 190): "sidewalk path footpath",
    (175, 125, 100): "building buildings house houses brick bricks",
    (165, 115, 65): "wood table desk door floor shelf cabinet",
    (200, 195, 180): "wall ceiling",
    (225, 60, 70): "person people man woman child human pedestrian rider",
    (235, 185, 155): "skin face hand arm leg",
    (250, 110, 30): "fire flame flames lava",
    (250, 205, 60): "sun banana lemon",
    (200, 30, 45): "blood strawberry tomato cherry rose",
    (240, 120, 40): "carrot pumpkin",
    (110, 70, 45): "chocolate coffee bear horse",
    (250, 170, 190): "pig flamingo",
}

COLOURS: dict[str, Expected] = {
    **{word: Expected(rgb, False) for rgb, words in THINGS.items() for word in words.split()},
    **{word: Expected(rgb, True) for word, rgb in NAMES.items()},
}
"""By word, in small letters."""
