"""Masks that pass the thresholds: of each what is inside its box, in bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ....geometry.sam_frame import SamFrame
from .crops import Crop
from .parameters import EverythingParameters

MEANT = slice(1, None)
"""Of the decoder's four masks those for what a point may mean."""


class Candidate(NamedTuple):
    """A mask that passed, in the photo's pixels."""

    box: tuple[int, int, int, int]
    """x₀ y₀ x₁ y₁, inclusive."""
    area: int
    """Pixels."""
    iou: float
    """SAM's own estimate, as float32 holds it."""
    stability: float
    """Likewise."""
    point: tuple[float, float]
    """x y of the point that was asked."""
    crop: Crop
    """Where it was asked."""
    bits: np.ndarray
    """[h, ⌈w/8⌉] uint8, the rows of the box."""

    @property
    def inside(self) -> np.ndarray:
        """[h, w] bool: the mask in its box."""
        return np.unpackbits(self.bits, axis=1, count=self.box[2] - self.box[0] + 1).view(bool)

    @property
    def where(self) -> tuple[slice, slice]:
        """The box's rows and columns."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1 + 1), slice(x0, x1 + 1)

    def whole(self, photo_hw: tuple[int, int]) -> np.ndarray:
        """[H, W] bool: the mask at the photo's size."""
        mask = np.zeros(photo_hw, bool)
        mask[self.where] = self.inside
        return mask


def boxes_of(candidates: Sequence[Candidate]) -> np.ndarray:
    """[K, 4] int."""
    return np.array([each.box for each in candidates], np.int64).reshape(-1, 4)


def candidates_in(
    low_res: np.ndarray,
    estimates: np.ndarray,
    points: np.ndarray,
    crop: Crop,
    frame: SamFrame,
    settings: EverythingParameters,
) -> Iterator[Candidate]:
    """The masks of one call of the decoder that are sure and stable enough, prompt by prompt.

    Args:
        low_res: [R, 4, m, m] float32 logits.
        estimates: [R, 4] float32, of their IoU.
        points: [R, 2] float64, x y in the crop's pixels.
        crop: what was encoded.
        frame: how the crop lay in SAM's input.
        settings: the parameters in force.
    """
    logits, iou = low_res[:, MEANT], estimates[:, MEANT]
    sure = iou > settings.iou_threshold if settings.iou_threshold > 0 else np.ones(iou.shape, bool)
    for prompt, token in zip(*np.nonzero(sure), strict=True):
        seen = _seen(logits[prompt, token], frame, settings)
        if seen is None:
            continue
        stability, (x0, y0, x1, y1), inside = seen
        x, y = points[prompt]
        yield Candidate(
            box=(x0 + crop.x0, y0 + crop.y0, x1 + crop.x0, y1 + crop.y0),
            area=_count(inside),
            iou=float(iou[prompt, token]),
            stability=stability,
            point=(float(x) + crop.x0, float(y) + crop.y0),
            crop=crop,
            bits=np.packbits(inside, axis=1),
        )


def _seen(
    logits: np.ndarray, frame: SamFrame, settings: EverythingParameters
) -> tuple[float, tuple[int, int, int, int], np.ndarray] | None:
    """A mask's stability, its box in the crop, and what is inside; None if it is not stable enough, or empty.

    An enlarged logit is no larger than the largest of those that it is interpolated from. So nothing is enlarged but
    the rows and columns that a logit above minus the offset reaches: beyond them there is nothing to count.

    Args:
        logits: [m, m] float32.
        frame: how they lie on the crop.
        settings: the parameters in force.
    """
    offset = settings.stability_offset
    high: np.ndarray = logits > -offset
    rows = frame.mask_rows.reached(np.any(high, axis=1))
    columns = frame.mask_columns.reached(np.any(high, axis=0))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    enlarged = frame.mask_rows.down(frame.mask_columns.across(logits, columns), rows)
    stability = _share(_count(enlarged > offset), _count(enlarged > -offset))
    inside: np.ndarray = enlarged > 0
    if stability < np.float32(settings.stability_threshold) or not inside.any():
        return None
    (y0, y1), (x0, x1) = (_ends(np.any(inside, axis=axis)) for axis in (1, 0))
    box = (x0 + columns.start, y0 + rows.start, x1 + columns.start, y1 + rows.start)
    return float(stability), box, inside[y0 : y1 + 1, x0 : x1 + 1]


def _count(mask: np.ndarray) -> int:
    return int(np.count_nonzero(mask))


def _share(part: int, whole: int) -> np.float32:
    return np.float32(part) / np.float32(whole) if whole else np.float32(0)


def _ends(line: np.ndarray) -> tuple[int, int]:
    """The first and the last that is true."""
    return int(line.argmax()), len(line) - 1 - int(line[::-1].argmax())
