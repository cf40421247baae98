"""Parameters of tracking."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ...recipe.parameters import Batch, Pixels

FRAMES = 1 << 24
"""No video has more."""
HOLES = 1_024
"""Pixels of a hole that may be filled: of the 65,536 of a published model's masks. More would fill what is no hole."""
PROMPTED_LIMIT = 10
"""Prompted frames that a call reads at most."""


class TrackingParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every parameter of the tracking pipeline."""

    max_pixels: Pixels = 100_000_000
    """A frame with more pixels is refused."""
    prompt_batch: Batch = 16
    """Objects per call of an engine. Does not change the result."""
    prompted_frames: Annotated[int, msgspec.Meta(ge=1, le=PROMPTED_LIMIT)] = PROMPTED_LIMIT
    """So many of an object's prompted frames are read, the closest ones."""
    video_frames: Annotated[int, msgspec.Meta(ge=0, le=FRAMES)] = 0
    """Frames of the whole video, which scale the distances of pointers where they are fewer than 16; 0 if unknown."""
    round_memory: bool = True
    """Whether memories are rounded to bfloat16, as the published code and transformers do it."""
    previous_logits: bool = False
    """Whether a correction also sees the frame's logits of before, as Meta's code does it; transformers does not."""
    binarise_all: bool = False
    """Whether on a frame with a prompt the masks of all objects are remembered as hard ones, as transformers does it;
    Meta's code does so with those that were prompted."""
    fill_holes: Annotated[int, msgspec.Meta(ge=0, le=HOLES)] = 0
    """Holes of so many low-resolution pixels or fewer are filled in what is told (8 in Meta's code). Memories keep
    them."""
    overlap: bool = True
    """Whether objects may share pixels; if not, each pixel is of the object with the largest logit."""
