"""The stages of the grounded pipeline: the words that all else knows them by."""

from __future__ import annotations

from ...recipe.pipeline import StageUse
from ..promptable.stages import ENCODER, PROMPT_DECODER, WHOLE
from ..worded.stages import TEXT
from .models import OWL, ROLE, is_kind

DETECTOR = "detector_image"
"""The stage that sees a photo for a detector whose words come in behind it."""

OUTPUTS = ("embeddings", "shift", "scale", "boxes", "objectness")
"""What it gives: of each box an embedding, how cosines become logits, the box, and whether it is any object."""

STAGES = (
    StageUse(name=TEXT, roles=(ROLE,), when=is_kind(OWL), lazy=True),
    StageUse(name=DETECTOR, roles=(ROLE,), when=is_kind(OWL), int8=True),
    StageUse(name=ENCODER, roles=("sam",), int8=True),
    StageUse(name=PROMPT_DECODER, roles=("sam",), after=(ENCODER,), whole=WHOLE),
)
"""In running order."""
