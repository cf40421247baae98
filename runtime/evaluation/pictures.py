"""Pictures of a run, for people: the confusion as a plot, and the worst photos beside their labels."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..datasets.sample import IGNORED, Sample
from ..files import atomic_path
from ..pictures.colours import colours_of
from ..pictures.legend import Entry, add_legend
from ..pictures.text import Text, shortened

MARGIN = 12
LABEL = 260
"""Widest name of a class, in pixels; longer ones end in an ellipsis."""
PANEL = 420
"""Longest side of a photo in a picture, in pixels."""
INK = np.array([8, 48, 107], np.float32)
"""The colour of a full cell."""


def draw_confusion(counts: np.ndarray, names: Sequence[str], title: str) -> Image.Image:
    """The confusion as a plot: a row is what pixels are, in shares of the row; a column what they were called.

    Classes that neither are there nor were called are left out.

    Args:
        counts: [C, C] from `confusion`.
        names: the classes'.
        title: drawn above.
    """
    there = np.flatnonzero((counts.sum(axis=0) + counts.sum(axis=1)) > 0).tolist()
    names = [names[index] for index in there]
    counts = counts[np.ix_(there, there)]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cell = int(np.clip(1400 // max(len(names), 1), 10, 44))
    letters = int(np.clip(cell * 0.55, 9, 16))
    labels = [shortened(name, letters, LABEL) for name in names]
    gutter = MARGIN * 2 + max((ceil(label.width) for label in labels), default=0)
    size = cell * len(names)
    image = Image.new("RGB", (max(gutter + size + MARGIN, 360), gutter + size + MARGIN + 30), "white")
    draw = ImageDraw.Draw(image)
    shortened(title, 16, image.width - 2 * MARGIN).draw(draw, (MARGIN, MARGIN + 8), "black")
    left, top = gutter, gutter + 30
    image.paste(Image.fromarray(_cells(shares, cell)), (left, top))
    for index, label in enumerate(labels):
        middle = index * cell + cell // 2
        label.draw(draw, (left - 6 - label.width, top + middle), "black")
        _draw_upright(image, label, (left + middle, top - 6), letters)
    if cell >= 30:
        _write_shares(draw, shares, cell, (left, top))
    return image


def draw_comparison(sample: Sample, masks: dict[str, np.ndarray], names: Sequence[str], title: str) -> Image.Image:
    """A photo, its labels and masks side by side, and a legend of the classes in them. Ignored pixels are black.

    Args:
        sample: photo and labels.
        masks: [H, W] class index, by what to write above.
        names: the classes'.
        title: drawn above all.
    """
    colours = np.vstack([colours_of(names), np.zeros((1, 3), np.uint8)])
    maps = {"labels": np.where(sample.labels == IGNORED, len(names), sample.labels), **masks}
    panels = {"photo": sample.photo, **{what: colours[index] for what, index in maps.items()}}
    font = ImageFont.load_default(14)
    h, w = sample.photo.shape[:2]
    scale = PANEL / max(h, w)
    h, w = max(1, round(h * scale)), max(1, round(w * scale))
    step = max(w, 90) + MARGIN
    canvas = Image.new("RGB", (MARGIN + step * len(panels), 3 * MARGIN + 36 + h), "white")
    draw = ImageDraw.Draw(canvas)
    shortened(title, 14, canvas.width - 2 * MARGIN).draw(draw, (MARGIN, MARGIN + 7), "black")
    for index, (what, pixels) in enumerate(panels.items()):
        left, top = MARGIN + index * step, 2 * MARGIN + 36
        draw.text((left, top - 4), what, fill="black", font=font, anchor="lb")
        way = cv2.INTER_AREA if what == "photo" else cv2.INTER_NEAREST
        canvas.paste(Image.fromarray(cv2.resize(np.ascontiguousarray(pixels), (w, h), interpolation=way)), (left, top))
    present = np.unique(np.concatenate([np.unique(index) for index in maps.values()]))
    return add_legend(canvas, [Entry(names[i], colours[i]) for i in present if i < len(names)], 14)


def save(image: Image.Image, path: Path) -> None:
    """Write a picture atomically."""
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _cells(shares: np.ndarray, cell: int) -> np.ndarray:
    """[C·cell, C·cell, 3] uint8: from white to ink, with the square root of the share, so that little is seen too."""
    depth = np.sqrt(shares)[..., None]
    pixels = np.round(255 * (1 - depth) + INK * depth).astype(np.uint8)
    large: np.ndarray = pixels.repeat(cell, axis=0).repeat(cell, axis=1)
    large[cell - 1 :: cell] = large[:, cell - 1 :: cell] = 225
    return large


def _write_shares(draw: ImageDraw.ImageDraw, shares: np.ndarray, cell: int, left_top: tuple[int, int]) -> None:
    font = ImageFont.load_default(11)
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        share = shares[row, column]
        middle = (left_top[0] + column * cell + cell // 2, left_top[1] + row * cell + cell // 2)
        draw.text(middle, f"{100 * share:.0f}", fill="white" if share > 0.3 else "black", font=font, anchor="mm")


def _draw_upright(image: Image.Image, label: Text, bottom: tuple[int, int], size: int) -> None:
    """Text that runs upwards from a point."""
    tile = Image.new("L", (ceil(label.width) + 2, 2 * size))
    label.draw(ImageDraw.Draw(tile), (0, size), 255)
    turned = tile.transpose(Image.Transpose.ROTATE_90)
    at = (bottom[0] - turned.width // 2, bottom[1] - turned.height)
    image.paste("black", (*at, at[0] + turned.width, at[1] + turned.height), turned)
