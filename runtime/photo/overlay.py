"""Pictures of a mask, for people."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import VocabularyError
from ..geometry.limits import CLASSES

STRIP = 1 << 20
"""Pixels that are blended at once."""

LISTED = 256
"""Classes that a legend lists; it says how many more there are."""

GOLDEN_RATIO = 0.618033988749895
MARGIN = 8


def palette(count: int) -> np.ndarray:
    """[count, 3] uint8 RGB: neighbouring indices differ most, and a class keeps its colour in every picture."""
    colours = []
    for index in range(count):
        hue = (0.02 + index * GOLDEN_RATIO) % 1
        saturation, value = (0.75, 0.95) if index % 2 == 0 else (0.6, 0.75)
        colours.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.round(np.array(colours) * 255).astype(np.uint8)


def draw_overlay(
    photo: np.ndarray, mask: np.ndarray, names: Sequence[str], *, opacity: float, legend: bool
) -> Image.Image:
    """The photo with every class in its colour and a light line between classes.

    Args:
        photo: [H, W, 3] uint8 RGB.
        mask: [H, W] class index.
        names: the classes' names.
        opacity: of the colours, 0 to 1.
        legend: whether the classes that occur are listed below, the largest first.
    """
    colours = palette(len(names))
    labels = small_indices(mask, len(names))
    image = Image.fromarray(_blended(photo, labels, colours, np.full(len(names), opacity)))
    return _with_legend(image, mask, names, colours) if legend else image


def draw_instances(photo: np.ndarray, masks: Iterable[np.ndarray], *, opacity: float) -> Image.Image:
    """The photo with things that may overlap, each in its colour, and a light line between them.

    Args:
        photo: [H, W, 3] uint8 RGB.
        masks: [H, W] bool each; a later one lies above those before.
        opacity: of the colours, 0 to 1.
    """
    labels, count = np.zeros(photo.shape[:2], np.uint16), 0
    for mask in masks:
        labels[mask] = count % CLASSES + 1  # past so many, colours come again
        count += 1
    known = min(count, CLASSES)
    colours = np.concatenate([np.zeros((1, 3), np.uint8), palette(known).reshape(-1, 3)])
    return Image.fromarray(_blended(photo, labels, colours, np.array([0] + [opacity] * known)))


def _blended(photo: np.ndarray, labels: np.ndarray, colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8: the photo in the labels' colours, and a light line where one ends.

    Args:
        photo: [H, W, 3] uint8 RGB.
        labels: [H, W] uint16.
        colours: [N, 3] uint8, by label.
        opacity: [N], 0 to 1, by label.
    """
    kernel = np.ones((3, 3), np.uint8)
    edges = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    drawn = np.empty_like(photo)
    step = max(1, STRIP // photo.shape[1])
    for start in range(0, len(photo), step):  # in floats the whole of a large photo would take gigabytes
        rows = slice(start, start + step)
        share = opacity[labels[rows], None]
        blended = photo[rows] * (1 - share) + colours[labels[rows]] * share
        blended[edges[rows]] = blended[edges[rows]] * 0.4 + 255 * 0.6
        drawn[rows] = np.round(blended)
    return drawn


def small_indices(mask: np.ndarray, classes: int) -> np.ndarray:
    """A mask as 16-bit numbers, for those who take no others.

    Args:
        mask: [H, W] class index.
        classes: how many there are.

    Raises:
        VocabularyError: there are more than fit.
    """
    if classes > CLASSES:
        raise VocabularyError(f"{classes:,} classes do not fit into 16-bit indices; the limit is {CLASSES:,}")
    return mask.astype(np.uint16)


def _with_legend(image: Image.Image, mask: np.ndarray, names: Sequence[str], colours: np.ndarray) -> Image.Image:
    counts = np.bincount(mask.reshape(-1), minlength=len(names))
    present = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    entries = [(f"{names[i]}  {100 * counts[i] / mask.size:.1f} %", colours[i]) for i in present[:LISTED]]
    if len(present) > LISTED:
        entries.append((f"and {len(present) - LISTED} more", np.full(3, 255, np.uint8)))
    return add_legend(image, entries, max(11, min(28, image.width // 40)))


def add_legend(image: Image.Image, entries: Sequence[tuple[str, np.ndarray]], size: int) -> Image.Image:
    """The image with a legend below.

    Args:
        image: RGB.
        entries: text and colour (uint8 RGB) of each entry.
        size: of the letters, in pixels.
    """
    font = ImageFont.load_default(size)
    row = size + MARGIN
    places, x, y = [], MARGIN, MARGIN
    for label, _ in entries:
        width = size + MARGIN // 2 + int(font.getlength(label)) + 2 * MARGIN
        if x > MARGIN and x + width > image.width:
            x, y = MARGIN, y + row
        places.append((x, y))
        x += width
    canvas = Image.new("RGB", (image.width, image.height + y + row), "white")
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    for (label, colour), (x, y) in zip(entries, places, strict=True):
        top = image.height + y
        draw.rectangle((x, top, x + size - 1, top + size - 1), fill=tuple(int(v) for v in colour))
        draw.text((x + size + MARGIN // 2, top + size // 2), label, fill="black", font=font, anchor="lm")
    return canvas
