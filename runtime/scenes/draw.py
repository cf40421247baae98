"""Drawing a scene: a backdrop of stuff, things on it, light and camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..boundary.arguments import public
from ..errors import ParameterError, shown
from .captions import captions_of
from .materials import CREAM, PATTERN_COVER, STUFF_TEXTURES, Rng, fractal
from .names import ALL_NAMES, COLOURS, HELD_OUT, SEEN, parts
from .silhouettes import SILHOUETTES

SUPERSAMPLE = 4
ASPECTS = (1.0, 1.25, 4 / 3, 1.5, 16 / 9, 2.0)
BACKDROPS, GROUNDS = ("sky", "brick", "wood"), ("grass", "sand", "water", "wood")
LEAST_VISIBLE = 0.4
"""A thing is put elsewhere if it would leave less than this of another's silhouette in sight."""
ATTEMPTS = 12


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture and what is in it."""

    photo: np.ndarray
    """[H, W, 3] uint8 RGB."""
    labels: np.ndarray
    """[H, W] uint8, index into `ALL_NAMES`: the topmost thing that covers at least half of the pixel, else stuff."""
    names: tuple[str, ...]
    """Names that occur in `labels`, in the order of `ALL_NAMES`."""
    captions: tuple[str, ...]
    """Sentences about the whole scene, in varied words; some name silhouettes."""


@dataclass
class Thing:
    """Something that lies on the backdrop."""

    name: str
    noun: str
    coverage: np.ndarray
    """[h, w] float32, 0 to 1, of the box that it lies in."""
    top: int
    left: int
    radius: float


@public()
def draw_scene(seed: int, *, held_out: bool = False) -> Scene:
    """Draw a scene; the same seed gives the same scene.

    Args:
        seed: 0 or more. Training draws below `FIRST_TEST_SEED`.
        held_out: whether combinations that training never draws are among the things. Then, as far as there is room,
            each shares its colour with another thing and its pattern with another, so that neither alone tells it.

    Raises:
        ParameterError: the seed is negative.
    """
    if seed < 0:
        raise ParameterError(f"seed={shown(seed)}: expected 0 or more")
    rng = np.random.default_rng([seed, int(held_out)])
    hw, unit = size_of(rng)
    image, labels, stuff = backdrop(rng, hw, unit)
    light = np.array([rng.uniform(-0.8, 0.8), -rng.uniform(0.4, 1.0)], np.float32)
    things = _place(rng, choose_names(rng, held_out), hw)
    for thing in things:
        _paint(rng, thing, image, labels, light, unit)
    photo = camera(rng, image, unit)
    present = np.unique(labels)
    names = tuple(ALL_NAMES[index] for index in present)
    visible = [(thing.name, thing.noun) for thing in things if thing.name in names]
    return Scene(photo, labels, names, captions_of(rng, visible, [name for name in stuff if name in names]))


def size_of(rng: Rng) -> tuple[tuple[int, int], float]:
    """(height, width), and the pixels of a unit: 1/240 of the short side."""
    short = int(rng.integers(190, 311))
    long = int(short * rng.choice(ASPECTS))
    hw = (short, long) if rng.random() < 0.7 else (long, short)
    return hw, short / 240


def backdrop(rng: Rng, hw: tuple[int, int], unit: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Two or three kinds of stuff side by side: image, labels, names."""
    if rng.random() < 0.65:
        upper = str(rng.choice(BACKDROPS))
        lower = [str(n) for n in rng.permutation([n for n in GROUNDS if n != upper])[: int(rng.integers(1, 3))]]
        names, angles = [upper, *lower], [np.pi / 2 + rng.uniform(-0.12, 0.12)]
    else:
        names = [str(n) for n in rng.permutation(GROUNDS)[: int(rng.integers(1, 4))]]
        angles = [rng.uniform(0, 2 * np.pi)]
    y, x = np.mgrid[-1 : 1 : hw[0] * 1j, -1 : 1 : hw[1] * 1j].astype(np.float32)
    image = STUFF_TEXTURES[names[0]](rng, hw, unit)
    labels = np.full(hw, ALL_NAMES.index(names[0]), np.uint8)
    for step, name in enumerate(names[1:]):
        angle = angles[0] if step == 0 else rng.uniform(0.2, np.pi - 0.2)
        bend = fractal(rng, hw, 90 * unit, 2) * (0.02 if rng.random() < 0.4 else 0.16)
        where = x * np.cos(angle) + y * np.sin(angle) + bend > rng.uniform(-0.35, 0.25) + 0.45 * step
        where &= labels != ALL_NAMES.index("sky") if step else True
        image[where] = STUFF_TEXTURES[name](rng, hw, unit)[where]
        labels[where] = ALL_NAMES.index(name)
    return image, labels, names


def choose_names(rng: Rng, held_out: bool) -> list[str]:
    """Names of the things from back to front, several of a colour or of a pattern."""
    names: list[str] = []
    for name in rng.permutation(HELD_OUT)[:2] if held_out else ():
        colour, pattern = parts(str(name))
        names += [str(name), _one_like(rng, colour), _one_like(rng, pattern)]
    count = int(rng.integers(3, 10))
    while len(names) < count:
        share = rng.random() < 0.5 and names
        names.append(_one_like(rng, parts(str(rng.choice(names)))[0] if share else ""))
    return [names[i] for i in rng.permutation(len(names))]


def _one_like(rng: Rng, word: str) -> str:
    """A name that training knows, with a colour or a pattern."""
    return str(rng.choice([name for name in SEEN if not word or word in parts(name)]))


def _place(rng: Rng, names: list[str], hw: tuple[int, int]) -> list[Thing]:
    """Things with places, none of which hides too much of another."""
    largest = 0.29 if len(names) < 6 else 0.24
    things: list[Thing] = []
    owner = np.full(hw, -1, np.int16)
    areas: list[int] = []
    for name in names:
        for _ in range(ATTEMPTS):
            thing = _silhouette(rng, name, hw, min(hw) * rng.uniform(0.14, largest))
            covered = thing.coverage >= 0.5
            box = box_of(owner, thing)
            hidden = np.bincount(box[covered & (box >= 0)], minlength=len(areas))[: len(areas)]
            left = np.bincount(owner[owner >= 0], minlength=len(areas))[: len(areas)] - hidden
            if covered.any() and (left >= LEAST_VISIBLE * np.array(areas, int)).all():
                box[covered] = len(things)
                areas.append(int(covered.sum()))
                things.append(thing)
                break
    return things


def box_of(image: np.ndarray, thing: Thing) -> np.ndarray:
    """The part of an image that a thing lies in."""
    h, w = thing.coverage.shape
    return image[thing.top : thing.top + h, thing.left : thing.left + w]


def _silhouette(rng: Rng, name: str, hw: tuple[int, int], radius: float) -> Thing:
    noun = str(rng.choice(list(SILHOUETTES)))
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.4 else rng.normal(0, 0.25)
    stretch = np.array([rng.uniform(0.82, 1.2), rng.uniform(0.82, 1.2)])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = np.array([rng.uniform(0.08, 0.92) * hw[1], rng.uniform(0.08, 0.92) * hw[0]])
    polygon = (SILHOUETTES[noun]() * stretch) @ turn * radius + centre
    return Thing(name, noun, *covered_by(polygon, hw), radius)


def covered_by(polygon: np.ndarray, hw: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """How much of each pixel a polygon covers.

    Args:
        polygon: [N, 2] float64, x y in pixels; it may leave the picture, in part or as a whole.
        hw: the picture's height and width.

    Returns:
        [h, w] float32, 0 to 1, of the polygon's box in the picture, and that box's top and left; 0 × 0 outside.
    """
    left, top = (max(0, int(n)) for n in polygon.min(axis=0) - 1)
    right, bottom = (min(n, int(m) + 2) for n, m in zip(hw[::-1], polygon.max(axis=0), strict=True))
    if right <= left or bottom <= top:
        return np.zeros((0, 0), np.float32), 0, 0
    canvas = np.zeros(((bottom - top) * SUPERSAMPLE, (right - left) * SUPERSAMPLE), np.uint8)
    corners = ((polygon - (left, top)) * SUPERSAMPLE - 0.5) * 256  # pixel centres are whole numbers in OpenCV
    cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], 255, shift=8)
    coverage = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return coverage, top, left


def _paint(rng: Rng, thing: Thing, image: np.ndarray, labels: np.ndarray, light: np.ndarray, unit: float) -> None:
    """Put a thing and its shadow on the image, and its name on the labels."""
    cast_shadow(thing, image, light, unit)
    coverage = thing.coverage[..., None]
    surface = _surface(rng, thing) * relief(rng, thing, light)
    box = box_of(image, thing)
    box[:] = box * (1 - coverage) + np.clip(surface, 0, 1) * coverage
    box_of(labels, thing)[thing.coverage >= 0.5] = ALL_NAMES.index(thing.name)


def cast_shadow(thing: Thing, image: np.ndarray, light: np.ndarray, unit: float) -> None:
    """Darken the image, in place, where a thing keeps the light off."""
    shade = np.zeros(image.shape[:2], np.float32)
    box_of(shade, thing)[:] = thing.coverage
    dx, dy = -light * 7 * unit
    shade = cv2.warpAffine(shade, np.array([[1, 0, dx], [0, 1, dy]]), shade.shape[::-1])
    image *= 1 - 0.42 * cv2.GaussianBlur(shade, (0, 0), 3.5 * unit)[..., None]


def _surface(rng: Rng, thing: Thing) -> np.ndarray:
    """[h, w, 3]: the thing's colour and pattern, before light."""
    colour, pattern = parts(thing.name)
    base = np.array(COLOURS[colour]) * rng.uniform(0.85, 1.1) + rng.uniform(-0.045, 0.045, 3)
    second = CREAM * rng.uniform(0.86, 1.0) * 0.93 + 0.07 * base
    h, w = thing.coverage.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    angle, (du, dv) = rng.uniform(0, np.pi), rng.uniform(0, 100, 2)
    u, v = x * np.cos(angle) + y * np.sin(angle) + du, y * np.cos(angle) - x * np.sin(angle) + dv
    period = max(9.0, thing.radius * rng.uniform(0.36, 0.56)) * (0.8 if pattern == "checked" else 1)
    cover = PATTERN_COVER[pattern](u, v, period)[..., None]
    felt = 1 + 0.035 * rng.normal(0, 1, (h, w, 1))
    mixed: np.ndarray = ((base * (1 - cover) + second * cover) * felt).astype(np.float32)
    return mixed


def relief(rng: Rng, thing: Thing, light: np.ndarray) -> np.ndarray:
    """[h, w, 1]: light on a puffy shape, brighter where it faces the light, darker at the far rim."""
    inside = np.pad((thing.coverage >= 0.5).astype(np.uint8), 1)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
    rise = np.clip(depth / (0.55 * thing.radius), 0, 1)
    height = cv2.GaussianBlur(np.sqrt(1 - (1 - rise) ** 2), (0, 0), max(0.8, 0.05 * thing.radius)) * 0.5 * thing.radius
    slope_y, slope_x = np.gradient(height.astype(np.float32)) if min(height.shape) > 1 else (height * 0, height * 0)
    facing = (-slope_x * light[0] - slope_y * light[1] + 1.1) / np.sqrt(slope_x**2 + slope_y**2 + 1)
    brightness: np.ndarray = (0.42 + 0.5 * np.clip(facing, 0, 2)) * rng.uniform(0.92, 1.06)
    return brightness[..., None]


def camera(rng: Rng, image: np.ndarray, unit: float, noise: Rng | None = None) -> np.ndarray:
    """Light over the whole picture, its tint, blur and noise: [H, W, 3] uint8. Noise may be drawn apart, by `noise`."""
    h, w = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.22)
    ramp = 1 + strength * (x * np.cos(angle) + y * np.sin(angle)) - rng.uniform(0, 0.12) * (x * x + y * y)
    ramp = ramp.astype(np.float32)
    tint = (1 + rng.uniform(-0.07, 0.07, 3)) * rng.uniform(0.78, 1.12)
    exposed = image * ramp[..., None] * tint.astype(np.float32)
    blurred = cv2.GaussianBlur(exposed, (0, 0), rng.uniform(0.25, 0.9) * unit)
    grain = np.float32(rng.uniform(0.004, 0.03)) * (noise or rng).standard_normal(image.shape, np.float32)
    photo: np.ndarray = np.round(np.clip(blurred + grain, 0, 1) * 255).astype(np.uint8)
    return photo
