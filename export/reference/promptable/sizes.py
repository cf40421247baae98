"""SAM's sizes, as the runtime needs them."""

from __future__ import annotations

from typing import Any

from ..embed import Upstream


def sam_sizes(sam: Upstream) -> dict[str, Any]:
    """The fields of `SamDimensions`."""
    return {
        "sam_side": sam.image_encoder.img_size,
        "sam_grid": sam.prompt_encoder.image_embedding_size[0],
        "sam_padding": tuple(sam.pixel_mean.flatten().tolist()),
    }
