"""Facts about a promptable model's stages that pipelines share."""

from __future__ import annotations

ENCODER, PROMPT_DECODER = "sam_encoder", "sam_prompt_decoder"
"""The stage that encodes a photo, and the one that answers points, boxes and masks."""

FEATURES = frozenset({"sam_features"})
"""The decoders' input that is the photo's; all others have a row for each prompt."""

PROMPTS = "interactive prompts: segmenter.prompt, `ovdeploy prompt`"
"""The purpose of the stage that answers prompts, where photos do not need it."""
