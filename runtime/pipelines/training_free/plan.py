"""The plan of a photo: every size and every table that follows from its size and the parameters alone.

A plan is computed once per size and cached. It is where the geometry of the pipeline can be read in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from ...errors import ParameterError
from ...geometry.dimensions import Dimensions
from ...geometry.photo_tables import PhotoTables
from ...geometry.sam_frame import SamFrame, sam_frame, valid_tokens_hw
from ...geometry.sizes import (
    HW,
    aligned_size,
    bilinear_matrix,
    longest_side_size,
    resize_rows,
    resized_size,
    round_half_up,
    splice_rows,
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
        ParameterError: the stride does not fit the window or the method.
    """
    splices, crop, patch = method.across == "features", parameters.crop, dimensions.clip_patch
    if parameters.stride > crop:
        raise ParameterError(
            f"stride={parameters.stride} leaves gaps between windows, whose side is {crop}; "
            f"choose a stride of at most {crop}"
        )
    if splices and parameters.stride % patch:
        raise ParameterError(
            f"stride={parameters.stride} must be a multiple of CLIP's patch, {patch}: "
            f"windows are spliced on the grid of patches"
        )
    resized_hw = resized_size(photo_hw, parameters.short_side, parameters.max_long_side)
    aligned_hw = aligned_size(resized_hw, patch if splices else 1, crop)
    starts = tuple(window_starts(length, crop, parameters.stride) for length in aligned_hw)
    sam = sam_frame(photo_hw, dimensions, dimensions.clip_patch) if dimensions.sam_side else None
    aggregated = _aggregated_frames(sam, parameters, dimensions) if splices and sam else ()
    axes = tuple(zip(starts, aligned_hw, dimensions.feature_grid, strict=True))
    if splices:
        tokens_hw = (aggregated[0].tokens_hw[0], sum(frame.tokens_hw[1] for frame in aggregated))
        splice: list[np.ndarray | None] = [_splice_axis(*axes[i], tokens_hw[i], crop, patch) for i in (0, 1)]
        to_photo = [bilinear_matrix(tokens_hw[i], photo_hw[i]) for i in (0, 1)]
    else:
        splice = [None, None]
        to_photo = [_window_logits_axis(*axes[i], photo_hw[i], crop) for i in (0, 1)]
    return Plan(
        photo_hw=photo_hw,
        resized_hw=resized_hw,
        aligned_hw=aligned_hw,
        row_starts=starts[0],
        column_starts=starts[1],
        splice_rows=splice[0],
        splice_columns=splice[1],
        photo=PhotoTables.of(*to_photo),
        sam=sam,
        aggregated=aggregated,
    )


def _splice_axis(starts: tuple[int, ...], length: int, grid: int, tokens: int, crop: int, patch: int) -> np.ndarray:
    """One axis of splicing: each window's features → the image's grid, averaged → SAM's valid tokens.

    The image's grid has r cells per patch, r = DINO's grid over CLIP's, rounded; a window's grid that is no multiple
    of CLIP's is first resized to one.

    Returns:
        [tokens, windows, grid] float32.
    """
    ratio = max(1, round_half_up(grid / (crop // patch)))
    window = bilinear_matrix(grid, crop // patch * ratio)
    image = splice_rows(window, tuple(start // patch * ratio for start in starts), length // patch * ratio)
    return resize_rows(image, tokens).reshape(tokens, len(starts), grid).astype(np.float32)


def _window_logits_axis(starts: tuple[int, ...], length: int, grid: int, photo: int, crop: int) -> np.ndarray:
    """One axis of segment-then-splice: each window's logits → its pixels → averaged → the photo's pixels.

    Returns:
        [photo, windows · grid] float64.
    """
    return resize_rows(splice_rows(bilinear_matrix(grid, crop), starts, length), photo)


def _aggregated_frames(whole: SamFrame, parameters: Parameters, dimensions: Dimensions) -> tuple[SamFrame, ...]:
    """The whole photo's frame, or those of its left and right half."""
    height, width = whole.padded_hw
    if not parameters.sam_halves:
        return (whole,)
    halves = []
    for columns in ((0, width // 2), (width // 2, width)):
        valid = longest_side_size((height, columns[1] - columns[0]), dimensions.sam_side)
        halves.append(replace(whole, columns=columns, valid_hw=valid, tokens_hw=valid_tokens_hw(valid, dimensions)))
    return tuple(halves)
