"""Parameters of the grounded pipeline."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...geometry.limits import REGIONS
from ...recipe.parameters import Batch, Fraction, Pixels


class GroundedParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes are in pixels, scores in [0, 1]."""

    max_pixels: Pixels = 100_000_000
    """A photo with more pixels is refused."""
    padding: Fraction = 0.5
    """Level of what is put below or beside a photo to make it square, 0 black to 1 white: OWLv2's authors' grey. The
    processor of transformers 5 puts black there."""
    box_threshold: Fraction = 0.1
    """A box is taken if its best class's score is above this."""
    text_threshold: Fraction = 0.25
    """For detectors that see a sentence: a word of it is meant if its score is above this. OWLv2 does not use it."""
    nms_threshold: Fraction = 0.5
    """Of boxes of one class, the less sure one is dropped if their IoU is above this."""
    max_boxes: Annotated[int, msgspec.Meta(ge=1, le=REGIONS.most)] = 100
    """So many boxes are taken at most, the surest."""
    mask_nms_threshold: Fraction = 1.0
    """Of things of one class, the less sure one is dropped if the IoU of their masks is above this; 1 drops none."""
    nms_across_classes: bool = False
    """Whether a box or a thing is dropped for a surer one of another class too: then a thing has one name."""
    score_by_sam: bool = False
    """Whether a thing's score is its box's times SAM's estimate of its mask's IoU; if not, it is the box's alone."""
    prompt_batch: Batch = 16
    """Boxes per call of SAM's decoder. Does not change the result."""
