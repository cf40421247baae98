"""Parameters of prompting alone."""

from __future__ import annotations

import msgspec

from ...recipe.parameters import Batch, Pixels


class PromptingParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every parameter of the prompting pipeline."""

    max_pixels: Pixels = 100_000_000
    """A photo with more pixels is refused."""
    prompt_batch: Batch = 16
    """Prompts per call of the decoder. Does not change the result."""
