"""What pipelines with a promptable model say of its stages alike."""

from __future__ import annotations

ENCODER, PROMPT_DECODER = "sam_encoder", "sam_prompt_decoder"
"""What encodes a photo, and what answers points, boxes and masks."""

FEATURES = frozenset({"sam_features"})
"""The decoders' input that is the photo's; all others have a row for each prompt."""

PROMPTS = "interactive prompts: segmenter.prompt, `ovdeploy prompt`"
"""The purpose of the stage that answers prompts, where photos do not need it."""
