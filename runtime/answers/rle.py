"""Masks as COCO's run lengths: alternating counts of pixels outside and inside, column by column.

The text form is COCO's too: every count from the fourth on is told as its difference from the one two before, in groups
of five bits, the lowest first, each as a printable letter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from ..boundary.arguments import public
from ..errors import ParameterError, shown
from ..geometry.limits import LONGEST_SIDE

GROUP, SIGN, MORE, FIRST_LETTER = 5, 16, 32, 48
LONGEST_NUMBER = 7
"""Groups of a number: the counts of the largest photo have 32 bits."""


@dataclass(frozen=True, eq=False)
class Rle:
    """A mask as run lengths, as COCO has them."""

    height: int
    """Of the mask, in pixels."""
    width: int
    """Likewise."""
    counts: np.ndarray
    """[N] int64, pixels outside, inside, outside, … in columns from the top left; the first may be 0."""

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, Rle) and (self.height, self.width) == (other.height, other.width)
        return same and np.array_equal(self.counts, other.counts)  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((self.height, self.width, self.counts.tobytes()))

    def __repr__(self) -> str:
        return f"Rle(height={self.height}, width={self.width}, area={self.area})"

    @classmethod
    @public()
    def encode(cls, mask: np.ndarray) -> Rle:
        """The run lengths of a mask.

        Args:
            mask: [H, W]; what is not 0 is inside.

        Raises:
            ParameterError: it has other axes, or none, or is larger than a photo may be.
        """
        if mask.ndim != 2 or not mask.size > 0 or max(mask.shape) > LONGEST_SIDE or mask.dtype.kind not in "biuf":
            raise ParameterError(
                f"expected a mask [H, W] with sides from 1 to {LONGEST_SIDE}, got {mask.dtype} {list(mask.shape)}"
            )
        columns = cv2.transpose(np.ascontiguousarray(mask != 0).view(np.uint8)).reshape(-1)
        bounds = np.flatnonzero(columns[1:] != columns[:-1]) + 1
        leading = [0, 0] if columns[0] else [0]
        counts = np.diff(np.concatenate([leading, bounds, [mask.size]]))
        return cls(mask.shape[0], mask.shape[1], counts)

    @public()
    def decode(self) -> np.ndarray:
        """The mask.

        Returns:
            [H, W] bool.
        """
        columns = np.repeat(np.arange(len(self.counts)) % 2 == 1, self.counts)
        return columns.reshape(self.width, self.height).T

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.counts[1::2].sum())

    @property
    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the runs of pixels inside begin and end (exclusive), counted column by column: [R] int, [R] int."""
        bounds = np.cumsum(self.counts)
        ends = bounds[1::2]
        return bounds[::2][: len(ends)], ends

    @public()
    def to_coco(self) -> dict[str, Any]:
        """COCO's form: `size` is height and width, `counts` the text form."""
        return {"size": [self.height, self.width], "counts": compressed([self])[0]}

    @classmethod
    @public()
    def from_coco(cls, segmentation: Mapping[str, Any]) -> Rle:
        """Run lengths in COCO's form, the text or a list of counts.

        Raises:
            ParameterError: they are damaged, or not of a mask of this size.
        """
        height, width = _size(segmentation.get("size"))
        told = segmentation.get("counts")
        counts = _expanded(told) if isinstance(told, str | bytes) else _listed(told)
        if counts.size == 0 or counts.min() < 0 or counts.max() > height * width or counts.sum() != height * width:
            raise ParameterError(f"the run lengths do not make a mask of {width}×{height} pixels; are they damaged?")
        rle = cls(height, width, counts)
        return rle if counts[1:].all() else cls.encode(rle.decode())  # runs of nothing are in no mask of ours


def compressed(masks: Sequence[Rle]) -> list[str]:
    """The text forms of several masks, worked out together."""
    if not masks:
        return []
    lengths = np.array([len(mask.counts) for mask in masks])
    ends = np.cumsum(lengths)
    numbers = np.concatenate([mask.counts for mask in masks])
    place = np.arange(len(numbers)) - np.repeat(ends - lengths, lengths)
    differences = numbers.copy()
    differences[2:] -= np.where(place[2:] > 2, numbers[:-2], 0)
    letters, last = _letters(differences)
    text = letters.tobytes().decode("ascii")
    cuts = [0, *last[ends - 1].tolist()]
    return [text[start:end] for start, end in pairwise(cuts)]


def cropped(mask: Rle, box_xyxy: tuple[int, int, int, int]) -> np.ndarray:
    """A mask inside a box that holds all of it; the rest of the photo costs nothing.

    Args:
        mask: the mask.
        box_xyxy: x₀, y₀, x₁, y₁, inclusive.

    Returns:
        [h, w] uint8, 0 or 1.
    """
    x0, y0, x1, y1 = box_xyxy
    starts, ends = mask.runs
    first, last = starts // mask.height, (ends - 1) // mask.height
    columns = last - first + 1
    column = np.arange(columns.sum()) - np.repeat(np.cumsum(columns) - columns - first, columns)
    top = np.maximum(np.repeat(starts, columns), column * mask.height) - column * mask.height
    bottom = np.minimum(np.repeat(ends, columns), (column + 1) * mask.height) - column * mask.height
    steps = np.zeros((x1 - x0 + 1, y1 - y0 + 2), np.int8)
    steps[column - x0, top - y0], steps[column - x0, bottom - y0] = 1, -1
    inside = np.cumsum(steps[:, :-1], axis=1, dtype=np.int8).view(np.uint8)
    return np.ascontiguousarray(inside.T)


def placed(inside: np.ndarray, corner: tuple[int, int], hw: tuple[int, int]) -> Rle:
    """`Rle.encode` of a mask of which only the part in a box is at hand: what `cropped` gives, and back.

    Args:
        inside: [h, w] bool.
        corner: x y of its top left pixel.
        hw: the mask's size.
    """
    height, width = hw
    (rows, columns), (x0, y0) = inside.shape, corner
    framed = np.zeros((columns, rows + 2), bool)
    framed[:, 1:-1] = inside.T
    column, row = np.divmod(np.flatnonzero(framed[:, 1:] != framed[:, :-1]), rows + 1)
    bounds = (column + x0) * height + row + y0
    same = np.flatnonzero(bounds[1:] == bounds[:-1])  # a run goes on at the top of the next column
    bounds = np.delete(bounds, np.concatenate([same, same + 1]))
    counts = np.diff(np.concatenate([[0], bounds, [height * width]]))
    return Rle(height, width, counts if counts[-1] else counts[:-1])


def _letters(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as groups of five bits.

    Returns:
        [L] uint8, the letters; [N] int, where the letters of each number end.
    """
    groups = np.ones(len(numbers), np.intp)
    for index in range(1, LONGEST_NUMBER):
        half = 1 << (GROUP * index - 1)
        groups += (numbers >= half) | (numbers < -half)
    ends = np.cumsum(groups)
    letters = np.empty(int(ends[-1]), np.uint8)
    for index in range(int(groups.max())):
        has = np.flatnonzero(groups > index)
        more = np.where(groups[has] > index + 1, MORE, 0)
        letters[ends[has] - groups[has] + index] = ((numbers[has] >> GROUP * index) & (MORE - 1) | more) + FIRST_LETTER
    return letters, ends


def _expanded(told: str | bytes) -> np.ndarray:
    """[N] int64: the counts that a text form stands for."""
    raw = told.encode("utf-8", "replace") if isinstance(told, str) else told
    letters = np.frombuffer(raw, np.uint8).astype(np.int64) - FIRST_LETTER
    last = np.flatnonzero((letters & MORE) == 0)
    starts = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    sizes = last + 1 - starts
    damaged = not len(last) or last[-1] + 1 != len(letters) or sizes.max() > LONGEST_NUMBER
    if damaged or letters.min() < 0 or letters.max() >= 2 * MORE:
        raise ParameterError(f"{shown(told)} is no mask in COCO's text form")
    place = np.arange(len(letters)) - np.repeat(starts, sizes)
    numbers = np.add.reduceat((letters & (MORE - 1)) << GROUP * place, starts)
    numbers -= np.where(letters[last] & SIGN, 1 << GROUP * sizes, 0)
    for first in (1, 2):
        numbers[first::2] = np.cumsum(numbers[first::2])
    return numbers


def _listed(told: Any) -> np.ndarray:
    try:
        counts = np.asarray(told)
    except Exception as error:  # an object's own methods may raise anything
        raise ParameterError("expected COCO's run lengths: a text, or a list of whole numbers") from error
    if counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise ParameterError(f"expected COCO's run lengths: a text, or a list of whole numbers, got {shown(told)}")
    return counts.astype(np.int64)


def _size(told: Any) -> tuple[int, int]:
    sides = [side for side in told if type(side) is int] if isinstance(told, list | tuple) else []
    if len(sides) != 2 or len(told) != 2 or not all(1 <= side <= LONGEST_SIDE for side in sides):
        raise ParameterError(f"size={shown(told)}: expected [height, width], each from 1 to {LONGEST_SIDE}")
    return sides[0], sides[1]
