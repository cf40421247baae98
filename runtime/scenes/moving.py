"""Drawn clips: things that move over a backdrop, with masks and identities for every frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..boundary.arguments import public
from ..errors import ParameterError, shown
from ..geometry.limits import CLIP_FRAMES
from .draw import Thing, backdrop, box_of, camera, cast_shadow, choose_names, covered_by, relief, size_of
from .materials import CREAM, PATTERN_COVER, Rng
from .names import ALL_NAMES, COLOURS, parts
from .silhouettes import SILHOUETTES
from .ways import ALWAYS, WAYS, Track

MOST_THINGS = 6
SIDES = (32, 1024)
"""The shortest and the longest short side of a clip's frames."""

UNIT = 240
"""Parts of the short side that lengths are told in."""

PAN = 0.12
"""How far the camera moves over the backdrop at most, as a share of the short side."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A drawn clip of T frames with N things."""

    frames: np.ndarray
    """[T, H, W, 3] uint8 RGB."""
    owners: np.ndarray
    """[T, H, W] uint8: the number, from 1, of the topmost thing that covers at least half of the pixel; 0 for none."""
    labels: np.ndarray
    """[T, H, W] uint8, index into `ALL_NAMES`: the name of that thing, else of the stuff."""
    names: tuple[str, ...]
    """N names of things, in the order of their numbers; two things may have the same."""
    ways: tuple[str, ...]
    """N ways that they move, by the names of `ways.WAYS`."""


@dataclass(frozen=True)
class _Mover:
    """A thing, before it is drawn at a moment."""

    name: str
    way: str
    noun: str
    radius: float
    """In pixels, before the way's multiple."""
    stretch: np.ndarray
    """[2] float64."""
    angles: np.ndarray
    """[T] float64, radians."""
    track: Track
    seed: int
    """Of how its surface looks, which is the same in every frame."""


@public()
def draw_clip(seed: int, frames: int = 20, *, short_side: int | None = None, held_out: bool = False) -> Clip:
    """Draw a clip; the same arguments give the same clip.

    There are four to six things. Two of them cross, so that one hides the other in part or as a whole; one leaves the
    picture and comes back; one grows or shrinks; others go somewhere or stay. Things turn; the camera moves a bit.

    Args:
        seed: 0 or more. Training draws below `FIRST_TEST_SEED`.
        frames: T, how many.
        short_side: of the frames, in pixels; None takes one by chance, of about 190 to 310.
        held_out: whether combinations of colour and pattern that training never draws are among the things.

    Raises:
        ParameterError: the seed is negative, there would be no frame or too many, or the side is out of range.
    """
    _check(seed, frames, short_side)
    return draw_part(seed, frames, range(frames), short_side, held_out=held_out)


def draw_part(
    seed: int, frames: int, wanted: Sequence[int], short_side: int | None = None, *, held_out: bool = False
) -> Clip:
    """Some frames of a clip, as they are in the whole.

    Args:
        seed: as of `draw_clip`.
        frames: of the whole clip.
        wanted: numbers of frames, in the order in which they are wanted.
        short_side: as of `draw_clip`.
        held_out: likewise.
    """
    rng = np.random.default_rng([seed, int(held_out), 1])
    hw, unit = size_of(rng)
    if short_side is not None:
        hw = (short_side * hw[0] // min(hw), short_side * hw[1] // min(hw))
        unit = short_side / UNIT
    margin = int(PAN * min(hw)) + 1
    light = np.array([rng.uniform(-0.8, 0.8), -rng.uniform(0.4, 1.0)], np.float32)
    moments = np.linspace(0, 1, frames)
    movers = _movers(rng, choose_names(rng, held_out), hw, moments)
    pan, shot = rng.uniform(-1, 1, (2, 2)) * (margin - 1), int(rng.integers(1 << 31))
    stage, stage_labels, _ = backdrop(rng, (hw[0] + 2 * margin, hw[1] + 2 * margin), unit)
    clip = _empty(len(wanted), hw, movers)
    for number, at in enumerate(wanted):
        top, left = np.round(margin + pan[0] + (pan[1] - pan[0]) * moments[at]).astype(int)
        here = np.s_[top : top + hw[0], left : left + hw[1]]
        image = stage[here].copy()
        clip.labels[number] = stage_labels[here]
        _put(movers, at, image, (clip.owners[number], clip.labels[number]), light, unit)
        grain = np.random.default_rng([shot, at])
        clip.frames[number] = camera(np.random.default_rng(shot), image, unit, grain)
    return clip


def _check(seed: int, frames: int, short_side: int | None) -> None:
    if seed < 0:
        raise ParameterError(f"seed={shown(seed)}: expected 0 or more")
    if not 1 <= frames <= CLIP_FRAMES:
        raise ParameterError(f"frames={shown(frames)}: expected 1 to {CLIP_FRAMES:,}")
    if short_side is not None and not SIDES[0] <= short_side <= SIDES[1]:
        raise ParameterError(f"short_side={shown(short_side)}: expected {SIDES[0]} to {SIDES[1]} pixels, or None")


def _empty(frames: int, hw: tuple[int, int], movers: list[_Mover]) -> Clip:
    shape = (frames, *hw)
    names, ways = tuple(mover.name for mover in movers), tuple(mover.way for mover in movers)
    return Clip(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8), names, ways)


def _movers(rng: Rng, names: list[str], hw: tuple[int, int], moments: np.ndarray) -> list[_Mover]:
    """Things with their ways, from back to front."""
    count = int(rng.integers(len(ALWAYS), MOST_THINGS + 1))
    names = (names * count)[:count]
    others = [str(way) for way in rng.choice(list(WAYS), count - len(ALWAYS))]
    ways = [str(way) for way in rng.permutation([*ALWAYS, *others])]
    meeting = rng.uniform(0.4, 0.6, 2)
    return [_mover(rng, name, way, hw, moments, meeting) for name, way in zip(names, ways, strict=True)]


def _mover(
    rng: Rng, name: str, way: str, hw: tuple[int, int], moments: np.ndarray, meeting: np.ndarray
) -> _Mover:  # fmt: skip
    return _Mover(
        name,
        way,
        noun=str(rng.choice(list(SILHOUETTES))),
        radius=min(hw) * rng.uniform(0.11, 0.2),
        stretch=rng.uniform(0.82, 1.2, 2),
        angles=rng.normal(0, 0.4) + rng.uniform(-1.2, 1.2) * moments,
        track=WAYS[way](rng, moments, meeting),
        seed=int(rng.integers(1 << 31)),
    )


def _put(
    movers: list[_Mover],
    frame: int,
    image: np.ndarray,
    told: tuple[np.ndarray, np.ndarray],
    light: np.ndarray,
    unit: float,
) -> None:
    """Put all things on an image, and on what is told of its pixels: owners and labels, [H, W] each."""
    owners, labels = told
    for number, mover in enumerate(movers, 1):
        thing, place = _at(mover, frame, image.shape[:2])
        if not thing.coverage.size:
            continue
        cast_shadow(thing, image, light, unit)
        coverage = thing.coverage[..., None]
        shade = relief(np.random.default_rng(mover.seed), thing, light)
        surface = np.clip(_surface(mover, thing, frame, place) * shade, 0, 1)
        box = box_of(image, thing)
        box[:] = box * (1 - coverage) + surface * coverage
        inside = thing.coverage >= 0.5
        box_of(owners, thing)[inside] = number
        box_of(labels, thing)[inside] = ALL_NAMES.index(mover.name)


def _at(mover: _Mover, frame: int, hw: tuple[int, ...]) -> tuple[Thing, np.ndarray]:
    """A thing as it lies in a frame, and its middle [2], x y in pixels."""
    radius = mover.radius * mover.track.sizes[frame]
    place = mover.track.centres[frame] * (hw[1], hw[0])
    polygon = (SILHOUETTES[mover.noun]() * mover.stretch) @ _turn(mover.angles[frame]) * radius + place
    return Thing(mover.name, mover.noun, *covered_by(polygon, (hw[0], hw[1])), radius), place


def _turn(angle: float) -> np.ndarray:
    """[2, 2]: what turns points in rows."""
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _surface(mover: _Mover, thing: Thing, frame: int, place: np.ndarray) -> np.ndarray:
    """[h, w, 3]: colour and pattern, which turn and grow with the thing, before light."""
    rng = np.random.default_rng(mover.seed)
    colour, pattern = parts(mover.name)
    base = np.array(COLOURS[colour]) * rng.uniform(0.85, 1.1) + rng.uniform(-0.045, 0.045, 3)
    second = CREAM * rng.uniform(0.86, 1.0) * 0.93 + 0.07 * base
    h, w = thing.coverage.shape
    y, x = np.mgrid[:h, :w] + 0.5
    own = (
        np.stack([x + thing.left - place[0], y + thing.top - place[1]], -1)
        @ _turn(rng.uniform(0, np.pi) + mover.angles[frame]).T
    )
    period = max(4.0, thing.radius * rng.uniform(0.42, 0.6)) * (0.8 if pattern == "checked" else 1)
    u, v = (own + rng.uniform(0, 1, 2) * period).transpose(2, 0, 1)
    cover = PATTERN_COVER[pattern](u, v, period)[..., None]
    mixed: np.ndarray = (base * (1 - cover) + second * cover).astype(np.float32)
    return mixed
