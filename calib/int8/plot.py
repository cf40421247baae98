"""The picture of a calibration: what every product adds to its stage's error when it alone is quantised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from ...runtime.bundle.calibration import LayerReport, StageReport
from ..layers.plot import CHOSEN, GRID, INK, MARGIN, PALE, WIDTH, font

HEIGHT = 220
"""Pixels of a panel."""

FLOAT = "float"
"""The precision of a product that is not quantised."""

DECADES = 5
"""Powers of ten that a panel shows."""


def draw_sensitivity(stages: Mapping[str, StageReport], title: str) -> Image.Image:
    """A panel a stage, a bar a product on a logarithmic scale; those that stay float are in another colour.

    Args:
        stages: by name; those without products are left out.
        title: the line on top.
    """
    shown = {name: report for name, report in stages.items() if report.layers}
    image = Image.new("RGB", (WIDTH, MARGIN + (HEIGHT + MARGIN) * max(1, len(shown))), "white")
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN // 4), title, fill=INK, font=font(20))
    top = MARGIN
    for name, report in shown.items():
        told = f"{name}, {report.precision}: relative error at the outputs with one product quantised"
        draw.text((MARGIN, top - 22), told + (" (orange: stays float)"), fill=INK, font=font(15))
        _panel(draw, (MARGIN, top, WIDTH - MARGIN // 2, top + HEIGHT), report.layers)
        top += HEIGHT + MARGIN
    return image


def _panel(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], layers: Sequence[LayerReport]) -> None:
    left, top, right, bottom = box
    high = math.ceil(math.log10(max([layer.error for layer in layers if layer.error > 0], default=1.0)))
    low = high - DECADES

    def y(error: float) -> float:
        power = max(low, min(high, math.log10(error))) if error > 0 else low
        return bottom - (power - low) / (high - low) * (bottom - top)

    for power in range(low, high + 1):
        draw.line((left, y(10.0**power), right, y(10.0**power)), fill=GRID)
        draw.text((left - 8, y(10.0**power)), f"1e{power}", fill=INK, font=font(13), anchor="rm")
    wide = (right - left) / len(layers)
    before = None
    for index, layer in enumerate(layers):
        x = left + index * wide
        colour = CHOSEN if layer.precision == FLOAT else PALE
        draw.rectangle((x + 1, min(y(layer.error), bottom - 1), x + max(2.0, wide - 1), bottom), fill=colour)
        if layer.block != before:
            draw.text((x + 1, bottom + 6), layer.block.rpartition(".")[2], fill=INK, font=font(13), anchor="lt")
            before = layer.block
