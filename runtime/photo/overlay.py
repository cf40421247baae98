"""Pictures of a mask, for people."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

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
    blended = photo * (1 - opacity) + colours[mask] * opacity
    kernel = np.ones((3, 3), np.uint8)
    labels = mask.astype(np.uint16)
    edges = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    blended[edges] = blended[edges] * 0.4 + 255 * 0.6
    image = Image.fromarray(np.round(blended).astype(np.uint8))
    return _with_legend(image, mask, names, colours) if legend else image


def _with_legend(image: Image.Image, mask: np.ndarray, names: Sequence[str], colours: np.ndarray) -> Image.Image:
    counts = np.bincount(mask.reshape(-1), minlength=len(names))
    present = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    entries = [(f"{names[i]}  {100 * counts[i] / mask.size:.1f} %", colours[i]) for i in present]
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
