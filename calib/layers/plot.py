"""The picture of `ovdeploy layers`: entropy, Gini coefficient and correlation of every block, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .measure import BlockStatistics

WIDTH, MARGIN, PANELS = 960, 74, (300, 150, 150)
"""Pixels: of the picture, around a panel, and the panels' heights."""

INK, PALE, CHOSEN, GRID = (40, 44, 52), (150, 175, 205), (214, 96, 60), (225, 228, 232)


def draw_layers(blocks: Sequence[BlockStatistics], chosen: Sequence[int], title: str) -> Image.Image:
    """Three panels over the blocks; the chosen blocks are in another colour.

    Args:
        blocks: the statistics, in order.
        chosen: block numbers.
        title: the line on top.
    """
    image = Image.new("RGB", (WIDTH, sum(PANELS) + MARGIN * (len(PANELS) + 1)), "white")
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN // 4), title, fill=INK, font=font(20))
    series = (
        ("mean spatial entropy (nats), with its deviation over the photos", "entropy"),
        ("Gini coefficient", "gini_coefficient"),
        ("correlation between channels", "correlation"),
    )
    top = MARGIN
    for (label, name), height in zip(series, PANELS, strict=True):
        values = np.array([getattr(block, name) for block in blocks])
        spread = np.array([b.entropy_deviation if name == "entropy" else 0.0 for b in blocks])
        _panel(draw, (MARGIN, top, WIDTH - MARGIN // 2, top + height), values, spread, set(chosen))
        draw.text((MARGIN, top - 22), label, fill=INK, font=font(15))
        top += height + MARGIN
    draw.text((WIDTH // 2 - 40, top - MARGIN // 2), "CLIP's block", fill=INK, font=font(15))
    return image


def _panel(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], values: np.ndarray, spread: np.ndarray, chosen: set[int]
) -> None:
    """One line with a dot for each block, and bars of its deviation."""
    left, top, right, bottom = box
    low, high = _limits(values - spread, values + spread)
    xs = left + (np.arange(len(values)) + 0.5) * (right - left) / len(values)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    ticks = np.linspace(low, high, 5)
    digits = max(0, 1 - math.floor(math.log10(ticks[1] - ticks[0])))
    for tick in ticks:
        draw.line((left, y(tick), right, y(tick)), fill=GRID)
        draw.text((left - 8, y(tick)), f"{tick:.{digits}f}", fill=INK, font=font(13), anchor="rm")
    draw.line([(x, y(value)) for x, value in zip(xs, values, strict=True)], fill=PALE, width=2)
    for number, (x, value, gap) in enumerate(zip(xs, values, spread, strict=True), start=1):
        colour = CHOSEN if number in chosen else PALE
        draw.line((x, y(value - gap), x, y(value + gap)), fill=colour, width=2)
        draw.ellipse((x - 5, y(value) - 5, x + 5, y(value) + 5), fill=colour)
        draw.text((x, bottom + 6), str(number), fill=CHOSEN if number in chosen else INK, font=font(13), anchor="mt")


def _limits(lows: np.ndarray, highs: np.ndarray) -> tuple[float, float]:
    """A panel's range: that of the values and a little more; never empty."""
    low, high = float(lows.min()), float(highs.max())
    pad = 0.08 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - pad, high + pad


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font in a size."""
    return ImageFont.load_default(size)
