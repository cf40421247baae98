"""The methods, as rows. A method is data: reference, export and runtime read these fields and nothing else.

*Splice-then-segment* (`across="features"`) puts the windows' features on one grid before the head;
*segment-then-splice* (`across="logits"`) averages the windows' logits.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ...errors import RecipeError, one_of
from ...recipe.recipe import Recipe
from ...recipe.registry import known_methods

Across = Literal["features", "logits"]


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the methods table."""

    attention: str
    """Stand-in for attention in CLIP's last blocks: a key of `export.reference.training_free.attention.ATTENTIONS`."""
    blocks: int = 1
    """In how many of the last blocks. Their outputs are summed on a path of their own; the usual path feeds them."""
    class_token: bool = False
    """Whether the class token takes part in that attention. Its output is dropped."""
    residual: bool = False
    """Whether the path begins with the first of these blocks' input, instead of 0."""
    mlp: bool = False
    """Whether the last block's MLP follows, with its residual."""
    tower: Literal["path", "calibrated"] = "path"
    """How CLIP's features are made: the path above, or SC-CLIP's calibration."""
    proxy: bool = False
    """Whether the attention is made from DINO's features, so that a `dino` stage is needed."""
    layers: bool = False
    """Whether the similarity of CLIP's middle blocks is mixed into DINO's (S2CLIP)."""
    mean_over: Literal["image", "window"] = "window"
    """Over what the mean similarity is taken that the proxy attention subtracts."""
    across: Across = "logits"
    """The values put together where windows overlap."""
    affinity: bool = False
    """Whether SAM's affinity aggregates the features; needs `sam_encoder`."""
    refine: bool = False
    """Whether SAM's decoder refines the mask, unless the recipe says otherwise."""
    source: str
    """Where the method was published."""


TRIDENT = (
    "Shi et al., Harnessing Vision Foundation Models for High-Performance, Training-Free Open Vocabulary "
    "Segmentation, 2024"
)

METHODS = {
    "clip": Method(
        attention="qk",
        class_token=True,
        residual=True,
        mlp=True,
        source="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021",
    ),
    "maskclip": Method(attention="values", source="Zhou et al., Extract Free Dense Labels from CLIP, ECCV 2022"),
    "clipsurgery": Method(
        attention="vv",
        blocks=6,
        class_token=True,
        residual=True,
        source="Li et al., CLIP Surgery for Better Explainability with Enhancement in Open-Vocabulary Tasks, 2023 "
        "(architecture surgery; the class weights of its feature surgery are left out)",
    ),
    "gem": Method(
        attention="self-self",
        blocks=6,
        class_token=True,
        residual=True,
        source="Bousselham et al., Grounding Everything: Emerging Localization Properties in Vision-Language "
        "Transformers, CVPR 2024",
    ),
    "sclip": Method(
        attention="qq+kk",
        class_token=True,
        residual=True,
        mlp=True,
        source="Wang et al., SCLIP: Rethinking Self-Attention for Dense Vision-Language Inference, ECCV 2024",
    ),
    "clearclip": Method(
        attention="qq",
        class_token=True,
        source="Lan et al., ClearCLIP: Decomposing CLIP Representations for Dense Vision-Language Inference, ECCV 2024",
    ),
    "naclip": Method(
        attention="kk+near",
        class_token=True,
        source="Hajimiri et al., Pay Attention to Your Neighbours, WACV 2025",
    ),
    "scclip": Method(
        attention="kk",
        tower="calibrated",
        source="Bai et al., Self-Calibrated CLIP for Training-Free Open-Vocabulary Segmentation, 2024",
    ),
    "proxyclip": Method(attention="similarity", proxy=True, source="Lan et al., ProxyCLIP, ECCV 2024"),
    "trident": Method(
        attention="similarity",
        proxy=True,
        mean_over="image",
        across="features",
        affinity=True,
        refine=True,
        source=TRIDENT,
    ),
    "maskclip-affinity": Method(
        attention="values", across="features", affinity=True, source=f"{TRIDENT}, the baseline of its Table 3"
    ),
    "s2clip": Method(
        attention="similarity",
        proxy=True,
        layers=True,
        refine=True,
        source="S2CLIP, whose formulas are unpublished: this is our reading of its text, tables and algorithms",
    ),
}


def method_named(name: str) -> Method:
    """The method's row, from whichever table has it (entry points of `ovdeploy.methods`).

    Raises:
        RecipeError: there is no such method; the message lists those there are.
    """
    known = known_methods()
    if name not in known:
        raise RecipeError(one_of("method", name, known))
    method: Method = known[name]
    return method


def method_of(recipe: Recipe) -> Method:
    """The row that a recipe names.

    Raises:
        RecipeError: it names none, or one that there is not.
    """
    if not recipe.method:
        raise RecipeError(f"the recipe names no method; give method = one of: {', '.join(known_methods())}")
    return method_named(recipe.method)


def refining_methods() -> tuple[str, ...]:
    """Names of the methods that ask SAM to refine and need no affinity of it."""
    return tuple(name for name, method in known_methods().items() if method.refine and not method.affinity)
