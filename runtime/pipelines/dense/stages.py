"""The stages of the dense pipeline: the words that all else knows them by."""

from __future__ import annotations

from ...recipe.pipeline import StageUse
from ..worded.stages import TEXT

ROLE = "dense"
"""The model's role: one checkpoint has both towers and the head."""

TOWER, HEAD = "clip_dense", "aggregate"

FEATURES = ("dense", "finer", "finest")
"""Outputs of the tower that the head takes."""

STAGES = (
    StageUse(name=TEXT, roles=(ROLE,), lazy=True),
    StageUse(name=TOWER, roles=(ROLE,), int8=True),
    StageUse(
        name=HEAD,
        roles=(ROLE,),
        after=(TOWER,),
        baked={"pooling": "the aggregate engine is built with it"},
        whole=frozenset(FEATURES),
    ),
)
"""In running order."""
