"""Sizes of a model with a memory."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...geometry.dimensions import SamDimensions
from ...geometry.limits import LARGEST

Weight = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
KERNEL = 16


class TrackingDimensions(SamDimensions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The sizes of SAM 2's engines, and how a given mask becomes a prompt."""

    mask_kernel: Annotated[tuple[Weight, ...], msgspec.Meta(min_length=KERNEL, max_length=KERNEL)]
    """[4 × 4] weights, row by row, of the convolution of step 4 that a given mask goes through."""
    mask_bias: Weight
    """What it adds."""
