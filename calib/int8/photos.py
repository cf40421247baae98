"""The photos of a calibration: read, told apart, and divided between calibrating and judging."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...runtime.errors import OF_ONE_PHOTO, PhotoError, printable
from ...runtime.photo.reading import as_photo
from ...runtime.reporting import Reporter, silent

EVERY = 3
"""Where one folder is given for both, every third photo is kept for the gate."""


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
    tell: Reporter = silent,
) -> Photos:
    """Read the photos and divide them; what is there twice counts once, what cannot be read is told and left out.

    Args:
        images: to calibrate on, and to judge by where `gate_images` is None.
        gate_images: to judge by.
        photos: least number to calibrate on.
        gate_photos: least number to judge by.
        limit: most to calibrate on, evenly chosen; None means all.
        max_pixels: of a photo.
        tell: is told of photos that are left out.

    Raises:
        PhotoError: there are too few that can be read.
    """
    read = _read(images, max_pixels, tell)
    gate = _read(gate_images, max_pixels, tell) if gate_images is not None else read[EVERY - 1 :: EVERY]
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


def _read(paths: Sequence[Path], max_pixels: int, tell: Reporter) -> list[Photo]:
    found: dict[str, Photo] = {}
    for path in sorted(paths):
        try:
            pixels = as_photo(path, max_pixels)
        except OF_ONE_PHOTO as error:
            tell(printable(error), about="left out", lasting=True)
            continue
        sha256 = hashlib.sha256(np.array(pixels.shape).tobytes() + pixels.tobytes()).hexdigest()
        found.setdefault(sha256, Photo(path, sha256, float(pixels.std())))
    return list(found.values())
