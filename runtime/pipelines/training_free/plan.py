"""The plan of a photo: every size and every table that follows from its size and the parameters alone.

A plan is computed once per size and cached. It is where the geometry of the pipeline can be read in one place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...errors import BundleError, ParameterError
from ...geometry.bands import Bands
from ...geometry.dimensions import Dimensions
from ...geometry.limits import ARRAY, RESIZED, WINDOWS, refuse_more
from ...geometry.photo_tables import PhotoTables
from ...geometry.sam_frame import SamFrame, sam_frame, seen_sizes
from ...geometry.sizes import (
    HW,
    aligned_size,
    bilinear_matrix,
    resize_rows,
    resized_size,
    round_half_up,
    splice_rows,
    window_count,
    window_starts,
)
from ...recipe.parameters import Parameters
from .methods import Method


@dataclass(frozen=True, eq=False)
class Plan:
    """Sizes and tables for one photo size. Tables are [to, from]."""

    photo_hw: HW
    resized_hw: HW
    aligned_hw: HW
    row_starts: tuple[int, ...]
    column_starts: tuple[int, ...]
    splice_rows: np.ndarray | None
    """[vh, Wy, h]: the windows' features → SAM's valid tokens; None where windows are joined as logits."""
    splice_columns: np.ndarray | None
    """[vw, Wx, w], likewise."""
    photo: PhotoTables
    """The logits' grid → the photo → half its size."""
    sam: SamFrame | None
    """The whole photo; None without SAM."""
    aggregated: tuple[SamFrame, ...]
    """The parts of the photo, left to right, that have an affinity of their own: the whole, two halves, or none. The
    columns of `splice_columns` are theirs in turn."""

    @property
    def windows_grid(self) -> HW:
        """Rows and columns of windows, Wy and Wx."""
        return len(self.row_starts), len(self.column_starts)


@lru_cache(maxsize=16)
def plan_photo(photo_hw: HW, parameters: Parameters, method: Method, dimensions: Dimensions) -> Plan:
    """Work out the plan of a photo.

    Args:
        photo_hw: the photo's size.
        parameters: the parameters in force.
        method: the method's row.
        dimensions: sizes that the engines fix.

    Raises:
        BundleError: the method needs SAM, and the dimensions have none.
        ParameterError: the stride does not fit the window or the method.
        PhotoError: the photo would have too many pixels, windows or tables; says what to change.
    """
    if parameters.stride > parameters.crop:
        raise ParameterError(
            f"stride={parameters.stride} leaves gaps between windows, whose side is {parameters.crop}; "
            f"choose a stride of at most {parameters.crop}"
        )
    resized_hw = resized_size(photo_hw, parameters.short_side, parameters.max_long_side)
    sam = sam_frame(photo_hw, dimensions, dimensions.clip_patch) if dimensions.sam_side else None
    if method.across == "features":
        joined = _join_features(photo_hw, resized_hw, sam, parameters, dimensions)
    else:
        joined = _join_logits(photo_hw, resized_hw, parameters, dimensions)
    return Plan(
        photo_hw=photo_hw,
        resized_hw=resized_hw,
        aligned_hw=joined.windows.aligned_hw,
        row_starts=joined.windows.starts[0],
        column_starts=joined.windows.starts[1],
        splice_rows=joined.splice[0],
        splice_columns=joined.splice[1],
        photo=joined.photo,
        sam=sam,
        aggregated=joined.aggregated,
    )


class _Windows(NamedTuple):
    """Where windows lie; all but `crop` by axis: rows, columns."""

    aligned_hw: HW
    starts: tuple[tuple[int, ...], ...]
    crop: int
    """Side of a window."""

    @classmethod
    def on(cls, resized_hw: HW, multiple: int, parameters: Parameters) -> _Windows:
        """The windows of a resized photo, its sides rounded up to a multiple."""
        crop = parameters.crop
        aligned_hw = aligned_size(resized_hw, multiple, crop)
        _refuse_many(aligned_hw, parameters)
        return cls(aligned_hw, tuple(window_starts(length, crop, parameters.stride) for length in aligned_hw), crop)


def _refuse_many(aligned_hw: HW, parameters: Parameters) -> None:
    """Refuse a resized photo and windows that would be too many, before there is a list of them.

    Raises:
        PhotoError: says how many, and what to change.
    """
    h, w = aligned_hw
    smaller = "Choose a smaller short_side or max_long_side."
    refuse_more(h * w, RESIZED, f"the photo resized to {w}×{h}", smaller)
    count = math.prod(window_count(length, parameters.crop, parameters.stride) for length in aligned_hw)
    fewer = "Choose a larger stride, or a smaller short_side or max_long_side."
    what = f"the windows of the photo resized to {w}×{h}, of side {parameters.crop} with stride {parameters.stride},"
    refuse_more(count, WINDOWS, what, fewer)
    refuse_more(count * 3 * parameters.crop**2 * 4, ARRAY, what, fewer)


class _Joined(NamedTuple):
    """The part of a plan that follows from how windows are joined; the fields are those of `Plan`."""

    windows: _Windows
    photo: PhotoTables
    splice: tuple[np.ndarray, np.ndarray] | tuple[None, None] = (None, None)
    aggregated: tuple[SamFrame, ...] = ()


def _join_features(
    photo_hw: HW, resized_hw: HW, sam: SamFrame | None, parameters: Parameters, dimensions: Dimensions
) -> _Joined:
    """Splice-then-segment: windows' features → SAM's valid tokens, and their logits → the photo.

    Raises:
        BundleError: the bundle's sizes know no SAM.
        ParameterError: the stride is no multiple of CLIP's patch.
    """
    if sam is None:
        raise BundleError("this method splices features on SAM's grid, and the bundle's dimensions say sam_side=0")
    patch = dimensions.clip_patch
    if parameters.stride % patch:
        raise ParameterError(
            f"stride={parameters.stride} must be a multiple of CLIP's patch, {patch}: "
            f"windows are spliced on the grid of patches"
        )
    windows = _Windows.on(resized_hw, patch, parameters)
    aggregated = _aggregated_frames(sam, parameters, dimensions)
    tokens_hw = (aggregated[0].tokens_hw[0], sum(frame.tokens_hw[1] for frame in aggregated))
    splice = [_splice_axis(windows, axis, dimensions.feature_grid[axis], tokens_hw[axis], patch) for axis in (0, 1)]
    to_photo = [Bands.resized(np.eye(tokens_hw[axis]), photo_hw[axis]) for axis in (0, 1)]
    return _Joined(windows, PhotoTables.of(*to_photo), (splice[0], splice[1]), aggregated)


def _join_logits(photo_hw: HW, resized_hw: HW, parameters: Parameters, dimensions: Dimensions) -> _Joined:
    """Segment-then-splice: windows' logits → the photo; no part of it has an affinity of its own."""
    windows = _Windows.on(resized_hw, 1, parameters)
    grid = dimensions.feature_grid
    to_photo = [_window_logits_axis(windows, axis, grid[axis], photo_hw[axis]) for axis in (0, 1)]
    return _Joined(windows, PhotoTables.of(*to_photo))


def _splice_axis(windows: _Windows, axis: int, grid: int, tokens: int, patch: int) -> np.ndarray:
    """One axis of splicing: each window's features → the image's grid, averaged → SAM's valid tokens.

    The image's grid has r cells per patch, r = DINO's grid over CLIP's, rounded; a window's grid that is no multiple
    of CLIP's is first resized to one.

    Returns:
        [tokens, windows, grid] float32.
    """
    starts, cells = windows.starts[axis], windows.crop // patch
    ratio = max(1, round_half_up(grid / cells))
    window = bilinear_matrix(grid, cells * ratio)
    spliced = tuple(start // patch * ratio for start in starts)
    image = splice_rows(window, spliced, windows.aligned_hw[axis] // patch * ratio)
    return resize_rows(image, tokens).reshape(tokens, len(starts), grid).astype(np.float32)


def _window_logits_axis(windows: _Windows, axis: int, grid: int, photo: int) -> Bands:
    """One axis of segment-then-splice: each window's logits → its pixels → averaged → the photo's pixels.

    Returns:
        From windows · grid to the photo.
    """
    window = bilinear_matrix(grid, windows.crop)
    return Bands.resized(splice_rows(window, windows.starts[axis], windows.aligned_hw[axis]), photo)


def _aggregated_frames(whole: SamFrame, parameters: Parameters, dimensions: Dimensions) -> tuple[SamFrame, ...]:
    """The whole photo's frame, or those of its left and right half."""
    height, width = whole.padded_hw
    if not parameters.sam_halves:
        return (whole,)
    halves = []
    for columns in ((0, width // 2), (width // 2, width)):
        sizes = seen_sizes((height, columns[1] - columns[0]), dimensions)
        halves.append(replace(whole, columns=columns, **sizes._asdict()))
    return tuple(halves)
