"""The photos of a calibration: read, told apart, and divided between calibrating and judging."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...runtime.errors import PhotoError
from ...runtime.photo.reading import as_photo

EVERY = 3
"""Where one folder is given for both, every third photo is kept for the gate."""

TOLD = 5


class Photo(NamedTuple):
    """A photo that could be read."""

    path: Path
    sha256: str
    """Of its pixels."""
    spread: float
    """Standard deviation of its pixels, 0 to 255: of a black photo 0."""


class Photos(NamedTuple):
    """The two sets; no photo is in both."""

    calibration: tuple[Photo, ...]
    gate: tuple[Photo, ...]

    @property
    def sha256(self) -> str:
        """Of the calibration set."""
        return digest(self.calibration)


def digest(photos: Sequence[Photo]) -> str:
    """A fingerprint of photos in their order."""
    return hashlib.sha256("".join(photo.sha256 for photo in photos).encode()).hexdigest()


def choose_photos(
    images: Sequence[Path],
    gate_images: Sequence[Path] | None,
    *,
    photos: int,
    gate_photos: int,
    limit: int | None = None,
    max_pixels: int = 100_000_000,
) -> Photos:
    """Read the photos and divide them; what is there twice counts once.

    Args:
        images: to calibrate on, and to judge by where `gate_images` is None.
        gate_images: to judge by.
        photos: least number to calibrate on.
        gate_photos: least number to judge by.
        limit: most to calibrate on, evenly chosen; None means all.
        max_pixels: of a photo.

    Raises:
        PhotoError: one cannot be read, or there are too few.
    """
    read = _read(images, max_pixels)
    gate = _read(gate_images, max_pixels) if gate_images is not None else read[EVERY - 1 :: EVERY]
    judged = {photo.sha256 for photo in gate}
    calibration = [photo for photo in read if photo.sha256 not in judged]
    if limit is not None and len(calibration) > limit:
        calibration = [calibration[i * len(calibration) // limit] for i in range(limit)]
    for what, there, needed in (("calibrate on", calibration, photos), ("judge by", gate, gate_photos)):
        if len(there) < needed:
            raise PhotoError(
                f"{len(there)} different photos to {what}, at least {needed} are needed (of one folder, every third "
                f"is kept to judge by). Give more photos, or lower --photos and --gate-photos."
            )
    return Photos(tuple(calibration), tuple(gate))


def _read(paths: Sequence[Path], max_pixels: int) -> list[Photo]:
    found: dict[str, Photo] = {}
    broken = []
    for path in sorted(paths):
        try:
            pixels = as_photo(path, max_pixels)
        except PhotoError as error:
            broken.append(str(error))
            continue
        sha256 = hashlib.sha256(np.array(pixels.shape).tobytes() + pixels.tobytes()).hexdigest()
        found.setdefault(sha256, Photo(path, sha256, float(pixels.std())))
    if broken:
        more = f"; and {len(broken) - TOLD} more" if len(broken) > TOLD else ""
        raise PhotoError(f"{len(broken)} photos cannot be read: {'; '.join(broken[:TOLD])}{more}. Take them away.")
    return list(found.values())
