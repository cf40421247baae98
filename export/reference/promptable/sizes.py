"""SAM's sizes, as the runtime needs them."""

from __future__ import annotations

from typing import Any

from ..embed import Upstream


def sam_sizes(sam: Upstream) -> dict[str, Any]:
    """The fields of `SamDimensions`."""
    side, frame = sam.image_encoder.img_size, sam.prompt_encoder.input_image_size[0]
    return {
        "sam_side": side,
        "sam_frame_side": frame if frame != side else 0,
        "sam_grid": sam.prompt_encoder.image_embedding_size[0],
        "sam_padding": tuple(sam.pixel_mean.flatten().tolist()),
        "sam_stretch": getattr(sam, "stretch", False),
        "sam_logit_limit": getattr(sam, "logit_limit", 0.0),
    }
