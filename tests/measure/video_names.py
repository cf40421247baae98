"""Freezes names and shapes of the tensors that transformers' video models save, for `test_video_checkpoints`.

    python tests/measure/video_names.py

The models are made without weights, of the sizes that the configurations of the published files have
(facebook/sam2-hiera-*, facebook/sam2.1-hiera-*, yonigozlan/EdgeTAM-hf, as transformers' conversion scripts write them).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from transformers import (
    EdgeTamVideoConfig,
    EdgeTamVideoModel,
    Sam2HieraDetConfig,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VisionConfig,
)

FOLDER = Path(__file__).parent.parent / "export" / "models" / "video_names"

TRUNKS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "base_plus": {
        "hidden_size": 112,
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "hidden_size": 144,
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "global_attention_blocks": [23, 33, 43],
        "window_positional_embedding_background_size": [7, 7],
        "window_size_per_stage": [8, 4, 16, 8],
    },
}
WIDTHS = {"tiny": 96, "small": 96, "base_plus": 112, "large": 144}


def sam2(size: str, *, old: bool) -> nn.Module:
    widths = [WIDTHS[size] * 2**step for step in (3, 2, 1, 0)]
    vision = Sam2VisionConfig(backbone_config=Sam2HieraDetConfig(**TRUNKS[size]), backbone_channel_list=widths)
    return Sam2VideoModel(
        Sam2VideoConfig(
            vision_config=vision,
            enable_temporal_pos_encoding_for_object_pointers=not old,
            enable_occlusion_spatial_embedding=not old,
        )
    )


def edgetam() -> dict[str, list[int]]:
    """SAM 2's vision tower is made, and its backbone's names replaced by those of timm's RepViT-M1 in its wrapper."""
    config = EdgeTamVideoConfig(
        vision_config=Sam2VisionConfig(backbone_channel_list=[384, 192, 96, 48]),
        enable_temporal_pos_encoding_for_object_pointers=False,
        enable_occlusion_spatial_embedding=False,
    )
    named = names_of(EdgeTamVideoModel(config))
    trunk = timm.create_model("repvit_m1", pretrained=False, features_only=True, out_indices=(0, 1, 2, 3))
    backbone = {f"vision_encoder.backbone.timm_model.{key}": shape for key, shape in names_of(trunk).items()}
    return backbone | {key: shape for key, shape in named.items() if not key.startswith("vision_encoder.backbone.")}


def names_of(model: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in model.state_dict().items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with torch.device("meta"):
        found = {
            f"sam2{'' if old else '.1'}_hiera_{size}_video": names_of(sam2(size, old=old))
            for size in TRUNKS
            for old in (False, True)
        }
        found["edgetam_video"] = edgetam()
    for name, tensors in found.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(tensors, separators=(",", ":")) + "\n")
        print(name, len(tensors), file=sys.stderr)


if __name__ == "__main__":
    main()
