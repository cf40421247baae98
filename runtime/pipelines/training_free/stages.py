"""The stages of the training-free pipeline: the words that all else knows them by."""

from __future__ import annotations

from ...recipe.pipeline import StageUse
from ...recipe.recipe import Recipe
from ..promptable.stages import DECODER, ENCODER, PROMPT_DECODER, PROMPTS, PROMPTS_BAKED, WHOLE
from ..worded.stages import TEXT
from .methods import method_of

DINO, CLIP, HEAD, LAYERS = "dino", "clip_image", "head", "clip_layers"
SAM = ENCODER

WINDOWS = {"crop": "the shape of the dino and clip_image engines' input depends on it"}
CONSTANT = "it is a constant inside the clip_image engine"


def _has_sam(recipe: Recipe) -> bool:
    return "sam" in recipe.models or method_of(recipe).affinity


STAGES = (
    StageUse(name=TEXT, roles=("clip",), lazy=True),
    StageUse(name=DINO, roles=("dino",), when=lambda recipe: method_of(recipe).proxy, baked=WINDOWS, int8=True),
    StageUse(
        name=CLIP,
        roles=("clip",),
        after=(DINO,),
        baked={
            **WINDOWS,
            "similarity_beta": CONSTANT,
            "similarity_gamma": CONSTANT,
            "similarity_layers": "the clip_image engine takes these blocks",
            "similarity_eta": CONSTANT,
            "dino_share": CONSTANT,
        },
        loose={"features": "thresholded_features"},
        int8=True,
    ),
    StageUse(
        name=SAM,
        roles=("sam",),
        when=_has_sam,
        baked={"affinity_kind": "the sam_encoder engine computes this kind"},
        loose={"affinity": "thresholded_affinity"},
        int8=True,
    ),
    StageUse(name=HEAD, roles=("clip",), after=(CLIP, SAM)),
    StageUse(
        name=DECODER,
        roles=("sam",),
        after=(SAM, HEAD),
        when=_has_sam,
        baked={**PROMPTS_BAKED, "as_published": "the sam_decoder engine is built one way or the other"},
        whole=WHOLE,
    ),
    StageUse(
        name=PROMPT_DECODER,
        roles=("sam",),
        after=(SAM,),
        when=_has_sam,
        purpose=PROMPTS,
        whole=WHOLE,
    ),
    StageUse(name=LAYERS, roles=("clip",), purpose="measuring CLIP's blocks: `ovdeploy layers`", baked=WINDOWS),
)
"""In running order, those that photos do not need at the end."""
