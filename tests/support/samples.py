"""What tests are made of: where the checkout is, photos that are drawn, words without meaning."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ovdeploy.runtime import Vocabulary

ROOT = Path(__file__).parent.parent.parent


def random_vocabulary(length: int, seed: int = 0) -> Vocabulary:
    embeddings = np.random.default_rng(seed).standard_normal((4, length)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Vocabulary(["cup; mug", "table", "spoon"], embeddings)


def draw_photo(hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A synthetic photo: gradients, rectangles and a little noise."""
    rng = np.random.default_rng(seed)
    h, w = hw
    y, x = np.mgrid[:h, :w]
    image = np.stack([255 * y / h, 255 * x / w, 128 + 80 * np.sin(x / 17)], axis=-1)
    for _ in range(6):
        top, left = rng.integers(0, h), rng.integers(0, w)
        image[top : top + max(1, h // 3), left : left + max(1, w // 4)] = rng.integers(0, 256, 3)
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def draw_photos(folder: str | Path, places: Iterable[str]) -> None:
    """A different small photo, 40 × 52, in each place below a folder."""
    for index, place in enumerate(places):
        path = Path(folder, place)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_photo((40, 52), index)).save(path)
