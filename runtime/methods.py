"""The methods, as rows. A method is data: reference, export and runtime read these fields and nothing else.

DESIGN terms: *splice-then-segment* (`across="features"`) puts the windows' features on one grid before the head;
*segment-then-splice* (`across="logits"`) averages the windows' logits.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import RecipeError, one_of

Across = Literal["features", "logits"]
Stage = Literal["text_encoder", "dino", "clip_image", "sam_encoder", "head", "sam_decoder"]


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the methods table."""

    attention: str
    """Last-block attention of CLIP: a key of `export.reference.attention.ATTENTIONS`."""
    proxy: bool = False
    """Whether the attention is made from DINO's features, so that a `dino` stage is needed."""
    mean_over: Literal["image", "window"] = "window"
    """Over what the mean similarity is taken that the proxy attention subtracts."""
    across: Across = "logits"
    """What is put together where windows overlap."""
    affinity: bool = False
    """Whether SAM's affinity aggregates the features; needs `sam_encoder`."""
    source: str
    """Where the method was published."""

    def stages(self, *, with_sam: bool) -> tuple[Stage, ...]:
        """The stages that a bundle of this method holds, in the order in which they run."""
        sam = with_sam or self.affinity
        chosen: dict[Stage, bool] = {
            "text_encoder": True,
            "dino": self.proxy,
            "clip_image": True,
            "sam_encoder": sam,
            "head": True,
            "sam_decoder": sam,
        }
        return tuple(stage for stage, wanted in chosen.items() if wanted)


METHODS = {
    "maskclip": Method(attention="values", source="Zhou et al., Extract Free Dense Labels from CLIP, ECCV 2022"),
    "proxyclip": Method(attention="similarity", proxy=True, source="Lan et al., ProxyCLIP, ECCV 2024"),
    "trident": Method(
        attention="similarity",
        proxy=True,
        mean_over="image",
        across="features",
        affinity=True,
        source="Shi et al., Harnessing Vision Foundation Models for High-Performance, Training-Free Open Vocabulary "
        "Segmentation, 2024",
    ),
}


def method_named(name: str) -> Method:
    """The method's row.

    Raises:
        RecipeError: there is no such method; the message lists those there are.
    """
    if name not in METHODS:
        raise RecipeError(one_of("method", name, METHODS))
    return METHODS[name]
