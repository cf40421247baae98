"""How a photo lies in the square input of SAM, and how SAM's masks come back to the photo."""

from __future__ import annotations

from dataclasses import dataclass

from .bands import Bands
from .dimensions import SamDimensions
from .sizes import HW, bilinear_matrix, longest_side_size, resize_rows, round_up


@dataclass(frozen=True, eq=False)
class SamFrame:
    """How the photo lies in SAM's square input: at the top left, padded right and below."""

    padded_hw: HW
    """The photo with each side rounded up to a multiple (of CLIP's patch, in the pipeline)."""
    columns: tuple[int, int]
    """The columns of that which SAM sees, from and up to: all of them, or those of a half."""
    valid_hw: HW
    """Their size inside SAM's frame, in SAM's pixels."""
    tokens_hw: HW
    """Tokens that lie wholly inside the photo, at least one per axis."""
    mask_rows: Bands
    """Rows of SAM's low-resolution masks → rows of the photo, [H, m]."""
    mask_columns: Bands
    """[W, m], likewise."""


def sam_frame(photo_hw: HW, dimensions: SamDimensions, multiple: int) -> SamFrame:
    """How a whole photo lies in SAM's input once its sides have been rounded up to a multiple.

    Args:
        photo_hw: the photo's size.
        dimensions: sizes that the engines fix.
        multiple: CLIP's patch in Trident's pipeline; 1 for what SamPredictor does.
    """
    padded = (round_up(photo_hw[0], multiple), round_up(photo_hw[1], multiple))
    valid = longest_side_size(padded, dimensions.sam_side)
    masks = [_mask_axis(photo_hw[i], padded[i], valid[i], dimensions) for i in (0, 1)]
    return SamFrame(padded, (0, padded[1]), valid, valid_tokens_hw(valid, dimensions), masks[0], masks[1])


def valid_tokens_hw(valid_hw: HW, dimensions: SamDimensions) -> HW:
    """Tokens that lie wholly inside the photo, at least one per axis."""
    token = dimensions.sam_side // dimensions.sam_grid
    return max(1, valid_hw[0] // token), max(1, valid_hw[1] // token)


def _mask_axis(photo: int, padded: int, valid: int, dimensions: SamDimensions) -> Bands:
    """One axis of SAM's post-processing: low resolution → SAM's frame → its valid part → padded photo → photo."""
    frame = bilinear_matrix(dimensions.mask_side, dimensions.sam_side)
    return Bands.resized(resize_rows(frame[:valid], padded), photo)
