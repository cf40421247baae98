"""The stages of the grounded pipeline: the words that all else knows them by."""

from __future__ import annotations

from ...recipe.pipeline import StageUse
from ..promptable.stages import ENCODER, PROMPT_DECODER, WHOLE
from ..worded.stages import TEXT
from .models import OWL, ROLE, SENTENCE, is_kind

DETECTOR = "detector_image"
"""The stage that sees a photo for a detector whose words come in behind it."""

OUTPUTS = ("embeddings", "shift", "scale", "boxes", "objectness")
"""What it gives: of each box an embedding, how cosines become logits, the box, and whether it is any object."""

GROUND_TEXT, GROUND_DETECTOR = "ground_text", "ground_detector"
"""Of a detector that sees a sentence: its text tower, and what sees the photo with the text."""

GROUND_INPUTS = ("image", "extent", "text_features", "position_ids", "attends")
"""What the second takes, once for a photo and a text."""

STAGES = (
    StageUse(name=TEXT, roles=(ROLE,), when=is_kind(OWL), lazy=True),
    StageUse(name=DETECTOR, roles=(ROLE,), when=is_kind(OWL), int8=True),
    StageUse(name=GROUND_TEXT, roles=(ROLE,), when=is_kind(SENTENCE), lazy=True),
    StageUse(
        name=GROUND_DETECTOR,
        roles=(ROLE,),
        when=is_kind(SENTENCE),
        whole=frozenset(GROUND_INPUTS),
        sets=frozenset({"logits", "boxes"}),
    ),
    StageUse(name=ENCODER, roles=("sam",), int8=True),
    StageUse(name=PROMPT_DECODER, roles=("sam",), after=(ENCODER,), whole=WHOLE),
)
"""In running order. Grounding DINO's queries are the surest of some thousands, in an order that near ties decide."""
