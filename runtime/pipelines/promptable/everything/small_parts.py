"""Holes and islands of masks: small ones are filled and removed, and masks that became alike are dropped."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ....geometry.sizes import HW
from .candidates import Candidate, boxes_of
from .suppression import suppress


def without_small_parts(
    candidates: Sequence[Candidate], photo_hw: HW, min_area: float, threshold: float
) -> list[Candidate]:
    """Fill the holes that are smaller than an area, remove such islands, and suppress once more.

    Masks that had neither are preferred to those that were changed. Estimates and stability stay those of before, as
    in the reference.

    Args:
        candidates: the masks.
        photo_hw: the photo's size.
        min_area: in pixels.
        threshold: of the boxes' IoU.
    """
    mended = [_mended(each, photo_hw, min_area) for each in candidates]
    untouched = np.array([new is old for new, old in zip(mended, candidates, strict=True)], np.float32)
    return [mended[index] for index in suppress(boxes_of(mended), untouched, threshold)]


def _mended(candidate: Candidate, photo_hw: HW, min_area: float) -> Candidate:
    """The candidate itself, or one of another mask."""
    whole = candidate.whole(photo_hw)
    mask = _without_islands(_without_holes(whole, min_area), min_area)
    if mask is whole:
        return candidate
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1]))
    new = candidate._replace(box=box, area=int(np.count_nonzero(mask)))
    return new._replace(bits=np.packbits(mask[new.where], axis=1))


def _without_holes(mask: np.ndarray, min_area: float) -> np.ndarray:
    """The mask with what is small of its outside; the same array if nothing is. [H, W] bool, as all here."""
    numbered, sizes = _parts(~mask)
    small = sizes < min_area
    small[0] = False  # what is no part of the outside: the mask
    return mask | small[numbered] if small.any() else mask


def _without_islands(mask: np.ndarray, min_area: float) -> np.ndarray:
    """The mask without its small parts; the largest stays if all are. The same array if none is."""
    numbered, sizes = _parts(mask)
    large = sizes >= min_area
    large[0] = False
    if large[1:].all():
        return mask
    if not large.any():
        large[1 + sizes[1:].argmax()] = True
    kept: np.ndarray = large[numbered]
    return kept


def _parts(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """8-connected parts of a mask.

    Returns:
        [H, W] int32, each pixel's part, 0 outside; [parts + 1] int, their pixels.
    """
    _, numbered, measured, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    return numbered, measured[:, cv2.CC_STAT_AREA]
