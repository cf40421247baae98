"""How stuff and patterns look: textures made of noise, waves and grids. Colours are float32 RGB, 0 to 1."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Rng = np.random.Generator
CREAM = np.array([0.97, 0.95, 0.90], np.float32)


def noise(rng: Rng, hw: tuple[int, int], cell_hw: tuple[float, float]) -> np.ndarray:
    """[H, W] smooth noise in about [-1, 1], whose features have the size of a cell."""
    rows, columns = (max(2, int(n / c) + 2) for n, c in zip(hw, cell_hw, strict=True))
    coarse = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
    smooth: np.ndarray = cv2.resize(coarse, hw[::-1], interpolation=cv2.INTER_CUBIC)
    return smooth


def fractal(rng: Rng, hw: tuple[int, int], cell: float, octaves: int = 4, stretch: float = 1.0) -> np.ndarray:
    """[H, W] noise of several sizes, each half as large and strong; cells are `stretch` times as wide as high."""
    total = np.zeros(hw, np.float32)
    for octave in range(octaves):
        size = max(1.0, cell / 2**octave)
        total += noise(rng, hw, (size, size * stretch)) / 2**octave
    return total / 1.6


def _tinted(colour: tuple[float, float, float], rng: Rng, spread: float = 0.05) -> np.ndarray:
    base = np.array(colour, np.float32) * rng.uniform(0.85, 1.12) + rng.uniform(-spread, spread, 3)
    tinted: np.ndarray = base.astype(np.float32)
    return tinted


def _lit(colour: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """A colour times a map of brightness: [H, W, 3]."""
    lit: np.ndarray = colour * factor[..., None]
    return lit


def grass(rng: Rng, hw: tuple[int, int], unit: float) -> np.ndarray:
    """Blades: thin upright streaks over patches of light and shade."""
    blades = noise(rng, hw, (7 * unit, 1.3 * unit)) + 0.6 * noise(rng, hw, (4 * unit, 1.0 * unit))
    shade = fractal(rng, hw, 40 * unit, 3)
    image = _lit(_tinted((0.33, 0.53, 0.16), rng), 0.92 + 0.30 * blades + 0.22 * shade)
    image += np.maximum(blades, 0)[..., None] * np.array([0.10, 0.08, 0.0], np.float32)
    return image


def sand(rng: Rng, hw: tuple[int, int], unit: float) -> np.ndarray:
    """Grains and wind ripples."""
    y = np.arange(hw[0], dtype=np.float32)[:, None]
    ripples = np.sin(2 * np.pi * (y + 9 * unit * fractal(rng, hw, 60 * unit, 3, 2)) / (rng.uniform(14, 24) * unit))
    grains = rng.normal(0, 1, hw).astype(np.float32)
    return _lit(_tinted((0.86, 0.74, 0.51), rng), 1 + 0.06 * ripples + 0.055 * grains)


def water(rng: Rng, hw: tuple[int, int], unit: float) -> np.ndarray:
    """Flat waves with glints on their crests."""
    waves = fractal(rng, hw, 7 * unit, 2, 5)
    swell = fractal(rng, hw, 50 * unit, 2, 2)
    image = _lit(_tinted((0.13, 0.43, 0.60), rng), 0.95 + 0.30 * waves + 0.15 * swell)
    image += np.clip(waves - 0.35, 0, 1)[..., None] * np.array([0.9, 0.95, 0.9], np.float32)
    return image


def brick(rng: Rng, hw: tuple[int, int], unit: float) -> np.ndarray:
    """Courses of bricks, every second one shifted by half, mortar between."""
    height = rng.uniform(13, 19) * unit
    width = 2.2 * height
    y, x = np.mgrid[: hw[0], : hw[1]].astype(np.float32)
    y, x = y + rng.uniform(0, height), x + rng.uniform(0, width)
    row = np.floor(y / height)
    across = x / width + 0.5 * (row % 2)
    column = np.floor(across)
    tone = rng.uniform(-1, 1, (int(row.max()) + 1, int(column.max()) + 1)).astype(np.float32)
    tone = tone[row.astype(int), column.astype(int)]
    gap = np.minimum(np.minimum(y % height, height - y % height), np.minimum(across % 1, 1 - across % 1) * width)
    inside = np.clip((gap - 0.07 * height) / max(0.8, 0.05 * height), 0, 1)[..., None]
    rough = 1 + 0.10 * fractal(rng, hw, 6 * unit, 2) + 0.15 * tone
    bricks = _lit(_tinted((0.62, 0.29, 0.21), rng), rough)
    mortar = _lit(_tinted((0.74, 0.71, 0.66), rng, 0.02), 1 + 0.05 * fractal(rng, hw, 4 * unit, 1))
    mixed: np.ndarray = bricks * inside + mortar * (1 - inside)
    return mixed


def sky(rng: Rng, hw: tuple[int, int], unit: float) -> np.ndarray:
    """Blue that pales towards the horizon, with clouds."""
    down = np.linspace(0, 1, hw[0], dtype=np.float32)[:, None, None]
    top, low = _tinted((0.32, 0.56, 0.90), rng), _tinted((0.72, 0.85, 0.96), rng, 0.02)
    clear = top * (1 - down) + low * down + np.zeros((*hw, 1), np.float32)
    cloud = np.clip(1.6 * fractal(rng, hw, 55 * unit, 5, 2) - rng.uniform(-0.1, 0.7), 0, 1)[..., None]
    mixed: np.ndarray = clear * (1 - cloud) + np.array([0.97, 0.97, 0.98], np.float32) * cloud
    return mixed


def wood(rng: Rng, hw: tuple[int, int], unit: float) -> np.ndarray:
    """Planks with grain, lying or standing."""
    lying = rng.random() < 0.5
    size = hw if lying else hw[::-1]
    width = rng.uniform(26, 44) * unit
    y = np.arange(size[0], dtype=np.float32)[:, None] + rng.uniform(0, width)
    plank = np.floor(y / width).astype(int)
    tone = rng.uniform(-1, 1, (int(plank.max()) + 1, 1)).astype(np.float32)[plank[:, 0]]
    bend = fractal(rng, size, 16 * unit, 2, 7)
    grain = np.sin(2 * np.pi * (y / (5.5 * unit) + 1.6 * bend + 3 * tone)) + 0.6 * noise(
        rng, size, (1.2 * unit, 24 * unit)
    )
    seam = np.clip(np.minimum(y % width, width - y % width) / (1.6 * unit), 0.35, 1)
    image = _lit(_tinted((0.63, 0.43, 0.25), rng), (1 + 0.09 * grain + 0.12 * tone) * seam)
    return image if lying else image.transpose(1, 0, 2)


STUFF_TEXTURES: dict[str, Callable[[Rng, tuple[int, int], float], np.ndarray]] = {
    "grass": grass,
    "sand": sand,
    "water": water,
    "brick": brick,
    "sky": sky,
    "wood": wood,
}
"""By name; made from the random numbers, (height, width), and the pixels that one unit of length takes."""


def _edge(wave: np.ndarray, slope: float) -> np.ndarray:
    """0 to 1 where a wave changes its sign, about a pixel wide; `slope` is the wave's change per pixel there."""
    soft: np.ndarray = np.clip(0.5 + wave / slope, 0, 1)
    return soft


def _plain(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    return np.zeros_like(u)


def _striped(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    return _edge(np.sin(2 * np.pi * u / period), 2 * np.pi / period)


def _dotted(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    row = np.floor(v / period)
    du = (u / period + 0.5 * (row % 2)) % 1 - 0.5
    dv = v / period - row - 0.5
    return _edge(0.30 - np.hypot(du, dv), 1 / period)


def _checked(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    return _edge(np.sin(np.pi * u / period) * np.sin(np.pi * v / period), np.pi / period)


PATTERN_COVER: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "plain": _plain,
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
}
"""How much of the second colour there is, 0 to 1; made from coordinates and the period, all in pixels."""
