"""Parameters of everything mode."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ....recipe.parameters import Batch, Fraction, NotNegative, Score

MOST_POINTS, MOST_LAYERS = 256, 4
"""Points along a side, eight times the published ones; and layers of crops, of which the fourth has 256 crops."""

POINTS_ON_CPU, POINTS_ON_GPU = 16, 32
"""Points along a side where nobody says. SAM's decoder takes about 0.15 CPU-seconds a point, so that the published 32
would take minutes on a CPU."""


class EverythingParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every parameter of everything mode, with SamAutomaticMaskGenerator's name for it."""

    points_per_side: Annotated[int, msgspec.Meta(ge=1, le=MOST_POINTS)] | None = None
    """Points along a side of the grid (points_per_side). None means 16 where the decoder runs on a CPU, and 32, as
    published, on a GPU."""
    prompt_batch: Batch | None = None
    """Points per call of the decoder (points_per_batch); None means the bundle's. Does not change the result."""
    iou_threshold: Score = 0.88
    """Masks are kept if SAM's own IoU estimate is above this (pred_iou_thresh); 0 or less keeps all."""
    stability_threshold: Fraction = 0.95
    """Masks are kept if they are at least so stable (stability_score_thresh): their area where the logit is above the
    offset, over the area where it is above minus the offset."""
    stability_offset: NotNegative = 1.0
    """The offset of that, in logits (stability_score_offset)."""
    box_threshold: Fraction = 0.7
    """Of two masks of one crop whose boxes have a larger IoU than this, the one with the larger estimate is kept
    (box_nms_thresh)."""
    crop_layers: Annotated[int, msgspec.Meta(ge=0, le=MOST_LAYERS)] = 0
    """Layers of crops beside the whole photo (crop_n_layers); layer i has 2^i × 2^i, and each crop is encoded anew."""
    crop_box_threshold: Fraction = 0.7
    """As `box_threshold`, between crops: what the smaller crop found is kept (crop_nms_thresh)."""
    crop_overlap: Fraction = 512 / 1500
    """How far crops of the first layer overlap, as a share of the photo's short side; halved with every further layer
    (crop_overlap_ratio)."""
    crop_points_divisor: Annotated[int, msgspec.Meta(ge=1, le=MOST_POINTS)] = 1
    """Points along a side are divided by this for every layer (crop_n_points_downscale_factor)."""
    min_area: NotNegative = 0
    """Holes and islands of masks that are smaller, in pixels, are filled and removed (min_mask_region_area)."""
    coarse_to_fine: bool = False
    """Whether to begin with a quarter of the points along a side, then half of them, then all, and to leave out points
    that lie in a mask already kept. It departs from the reference: it asks far fewer points, and misses masks inside
    others, such as parts of a thing."""
