"""The stages of the dense pipeline: the words that all else knows them by."""

from __future__ import annotations

from collections.abc import Callable

from ...recipe.pipeline import StageUse
from ...recipe.recipe import Recipe
from ..promptable.refining import has_sam
from ..promptable.stages import DECODER, ENCODER, PROMPTS_BAKED, WHOLE
from ..worded.stages import TEXT
from .models import AGGREGATE, ESCNET, ROLE, head_of

TOWER, ESCNET_BLOCKS = "clip_dense", "escnet_blocks"

FEATURES = ("dense", "finer", "finest")
"""Outputs of the tower that the head takes."""


def _with_head(head: str) -> Callable[[Recipe], bool]:
    return lambda recipe: head_of(recipe) == head


STAGES = (
    StageUse(name=TEXT, roles=(ROLE,), lazy=True),
    StageUse(name=TOWER, roles=(ROLE,), int8=True),
    StageUse(
        name=AGGREGATE,
        roles=(ROLE,),
        after=(TOWER,),
        when=_with_head(AGGREGATE),
        baked={"pooling": "the engine of the head is built with it"},
        whole=frozenset(FEATURES),
    ),
    StageUse(name=ESCNET, roles=(ROLE,), after=(TOWER,), when=_with_head(ESCNET), whole=frozenset(FEATURES)),
    StageUse(name=ENCODER, roles=("sam",), when=has_sam, int8=True),
    StageUse(
        name=DECODER, roles=("sam",), after=(ENCODER, AGGREGATE, ESCNET), when=has_sam, baked=PROMPTS_BAKED, whole=WHOLE
    ),
    StageUse(
        name=ESCNET_BLOCKS,
        roles=(ROLE,),
        after=(TOWER,),
        when=_with_head(ESCNET),
        purpose="comparing each block on given prompts, and what it would choose itself: `ovdeploy parity`",
        choices=frozenset({"points", "labels"}),
        whole=frozenset(FEATURES),
    ),
)
"""In running order, those that photos do not need at the end."""
