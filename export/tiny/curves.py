"""Curves of losses as a picture, without a plotting library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...runtime.files import atomic_path
from ...runtime.pictures.colours import palette

WIDTH, HEIGHT, MARGIN = 900, 420, 48
POINTS = 200
"""A curve has at most so many; each is a mean over its steps."""
FLOOR = 1e-3
"""A loss below this is drawn as this: it is no longer what is learned."""


def draw_curves(history: dict[str, list[float]], path: Path) -> None:
    """Draw every loss over the steps, with a logarithmic axis, as a PNG. One with fewer values began later."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13)
    curves = {name: _smoothed(values) for name, values in history.items() if values}
    values = np.concatenate([np.maximum(curve, FLOOR) for curve in curves.values()])
    steps = max(len(losses) for losses in history.values())
    low, high = np.log10(values.min()), np.log10(values.max()) + 1e-9
    inner_w, inner_h = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    for tick in (digit * 10.0**exponent for exponent in range(-6, 3) for digit in (1, 2, 5)):
        y = MARGIN + inner_h * (high - np.log10(tick)) / (high - low)
        if MARGIN <= y <= HEIGHT - MARGIN:
            draw.line((MARGIN, y, WIDTH - MARGIN, y), fill=(225, 225, 225))
            draw.text((MARGIN - 6, y), f"{tick:g}", fill="black", font=font, anchor="rm")
    for number, ((name, curve), colour) in enumerate(zip(curves.items(), palette(len(curves)), strict=True)):
        xs = MARGIN + inner_w * np.linspace(1 - len(history[name]) / steps, 1, len(curve))
        ys = MARGIN + inner_h * (high - np.log10(np.maximum(curve, FLOOR))) / (high - low)
        ink = tuple(int(v) for v in colour)
        draw.line([(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], fill=ink, width=2)
        draw.text((MARGIN + 130 * number, 14), f"{name} {curve[-1]:.3f}", fill=ink, font=font)
    draw.text((WIDTH - MARGIN, HEIGHT - MARGIN + 8), f"{steps} steps", fill="black", font=font, anchor="ra")
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _smoothed(values: list[float]) -> np.ndarray:
    """Means over as many steps as leave POINTS of them."""
    parts = np.array_split(np.array(values), min(POINTS, len(values)))
    return np.array([part.mean() for part in parts])
