"""Facts about a promptable model's stages that pipelines share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

AnyArray = TypeVar("AnyArray")
"""Of numpy, of PyTorch, or on a device."""

ENCODER, PROMPT_DECODER = "sam_encoder", "sam_prompt_decoder"
"""The stage that encodes a photo, and the one that answers points, boxes and masks."""

DECODER = "sam_decoder"
"""The stage that refines regions: one mask for each region's prompts."""

PROMPTS_BAKED = {"prompts": "the sam_decoder engine takes these prompts"}
"""What its export fixes in every pipeline."""

HIGH_RES = ("high_res_0", "high_res_1")
"""Features at four and at two times the grid, of models whose decoders take them: SAM 2's and EdgeTAM's."""

FEATURES: Mapping[str, str] = {"features": "sam_features", **{name: name for name in HIGH_RES}}
"""A photo's features: what the encoder calls them, and what the decoders do. A model has the first, or all."""

WHOLE = frozenset(FEATURES.values())
"""The decoders' inputs that are the photo's; all others have a row for each prompt."""

PROMPTS = "interactive prompts: segmenter.prompt, `ovdeploy prompt`"
"""The purpose of the stage that answers prompts, where photos do not need it."""


def features_in(outputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """The features among an encoder's outputs, as decoders take them; an affinity is none."""
    return {name: outputs[made] for made, name in FEATURES.items() if made in outputs}
