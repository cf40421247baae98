"""Grounding DINO, as rows: transformers' own modules under the names of the published checkpoints.

github.com/IDEA-Research/GroundingDINO (Apache-2.0), as `IDEA-Research/grounding-dino-tiny` and `-base` in transformers'
naming.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from ....runtime.boundary.reading import read_text
from ....runtime.bundle.bundle import TOKENIZER
from ....runtime.errors import WeightsError, needing
from ..checkpoints.fitting import Reading
from ..checkpoints.grounding_dino_names import grounding_dino


class Build(NamedTuple):
    """How a model is made."""

    swin: Mapping[str, Any]
    """Its image tower, as transformers' `SwinConfig` takes it."""
    height: int
    """Of the images that its engine is made for, in pixels."""
    width: int
    bert: Mapping[str, Any] = {}
    """Its text tower, as `BertConfig` takes it; empty is BERT's base."""
    rest: Mapping[str, Any] = {}
    """All else, as `GroundingDinoConfig` takes it."""


SIDE = 1344
"""A multiple of 64 that holds a longer side of 1333, upright and across."""

SMALL: Mapping[str, Mapping[str, Any]] = {
    "swin": {"embed_dim": 16, "depths": (1, 1, 1), "num_heads": (1, 2, 2), "window_size": 4, "image_size": 64,
             "out_indices": (2, 3)},
    "bert": {"vocab_size": 2048, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 64},
    "rest": {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64,
             "encoder_attention_heads": 4, "decoder_attention_heads": 4, "num_feature_levels": 3, "num_queries": 20},
}  # fmt: skip
"""Three levels, of which the last is a convolution's, as in the published models."""

BUILDS: Mapping[str, Build] = {
    "micro_grounding_dino": Build(SMALL["swin"], 96, 96, SMALL["bert"], SMALL["rest"]),
    "grounding_dino_tiny": Build(
        {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "window_size": 7, "image_size": 224,
         "out_indices": (2, 3, 4)}, SIDE, SIDE,
    ),
    "grounding_dino_base": Build(
        {"embed_dim": 128, "depths": (2, 2, 18, 2), "num_heads": (4, 8, 16, 32), "window_size": 12, "image_size": 384,
         "out_indices": (2, 3, 4)}, SIDE, SIDE,
    ),
}  # fmt: skip
"""By the name that a recipe gives."""


def reading(name: str) -> Reading:
    """The names that a model's checkpoints may have."""
    return Reading(namings=(grounding_dino(BUILDS[name].rest.get("decoder_layers", 6)),))


def beside(model: Any, path: Path) -> None:
    """Take BERT's tokenizer, which stands beside the published checkpoint.

    Args:
        model: any detector.
        path: the checkpoint, or its folder.
    """
    found = (path if path.is_dir() else path.parent) / TOKENIZER
    if hasattr(model, "tokenizer_json") and found.exists():
        model.tokenizer_json = read_text(found, WeightsError, "the tokenizer")


def build(name: str) -> nn.Module:
    """A model by its name: transformers' `GroundingDinoForObjectDetection`, in evaluation mode.

    Its `image_size` is (height, width) of the images that its engine is made for, in pixels; its
    `tokenizer_json` is what `beside` finds.
    """
    with needing("transformers", "export", "Grounding DINO"):
        from transformers import BertConfig, GroundingDinoConfig, GroundingDinoForObjectDetection, SwinConfig
    row = BUILDS[name]
    config = GroundingDinoConfig(
        backbone_config=SwinConfig(**row.swin), text_config=BertConfig(**row.bert), disable_custom_kernels=True,
        **row.rest,
    )  # fmt: skip
    model: Any = GroundingDinoForObjectDetection(config).eval()
    model.model.backbone.conv_encoder.model.swin.layernorm = nn.Identity()  # of a classifier; no file has it
    model.image_size = (row.height, row.width)
    model.tokenizer_json = ""
    whole: nn.Module = model
    return whole
