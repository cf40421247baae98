"""How a photo lies in SAM's square, and how SAM's masks come back to the photo.

Most models take the photo in the square in which prompts and masks lie. Some take it smaller: EfficientViT-SAM on 512
pixels, while its prompts are those of SAM's 1024. SAM 2 and its kin stretch the photo until it fills the square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .bands import Bands
from .dimensions import SamDimensions
from .sizes import HW, bilinear_matrix, longest_side_size, resize_rows, round_up


@dataclass(frozen=True, eq=False)
class SamFrame:
    """How the photo lies in SAM's square: at the top left, padded right and below, or stretched over all of it."""

    padded_hw: HW
    """The photo with each side rounded up to a multiple (of CLIP's patch, in the pipeline)."""
    columns: tuple[int, int]
    """The columns of that which SAM sees, from and up to: all of them, or those of a half."""
    image_hw: HW
    """Their size inside the input of SAM's encoder."""
    valid_hw: HW
    """Their size inside the square of prompts and masks, in SAM's pixels."""
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
    sizes = seen_sizes(padded, dimensions)
    masks = [_mask_axis(photo_hw[i], padded[i], sizes.valid_hw[i], dimensions) for i in (0, 1)]
    return SamFrame(padded, (0, padded[1]), *sizes, masks[0], masks[1])


class SeenSizes(NamedTuple):
    """Sizes of what SAM sees; the fields are those of `SamFrame`."""

    image_hw: HW
    valid_hw: HW
    tokens_hw: HW


def seen_sizes(seen_hw: HW, dimensions: SamDimensions) -> SeenSizes:
    """The sizes of a padded photo, or of a part of it."""
    lie = _filled if dimensions.sam_stretch else longest_side_size
    image = lie(seen_hw, dimensions.sam_side)
    token = dimensions.sam_side // dimensions.sam_grid
    tokens = (max(1, image[0] // token), max(1, image[1] // token))
    return SeenSizes(image, lie(seen_hw, dimensions.frame_side), tokens)


def _filled(hw: HW, side: int) -> HW:
    """The size of a photo that fills a square."""
    return side, side


def _mask_axis(photo: int, padded: int, valid: int, dimensions: SamDimensions) -> Bands:
    """One axis of SAM's post-processing: low resolution → SAM's square → its valid part → padded photo → photo.

    SAM 2 goes from the low resolution to the photo at once.
    """
    if dimensions.sam_stretch:
        return Bands.resized(bilinear_matrix(dimensions.mask_side, padded), photo)
    frame = bilinear_matrix(dimensions.mask_side, dimensions.frame_side)
    return Bands.resized(resize_rows(frame[:valid], padded), photo)
