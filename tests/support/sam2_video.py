"""transformers' Sam2VideoModel, small and lively, with our model of the same weights; and a clip to track on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch

from ovdeploy.export.models.checkpoints.fitting import Reading, fit
from ovdeploy.export.models.checkpoints.naming import Row
from ovdeploy.export.models.checkpoints.sam2_names import IMAGE, TRANSFORMERS_EDGETAM, TRANSFORMERS_SAM2
from ovdeploy.export.models.promptable.hiera import Hiera
from ovdeploy.export.models.promptable.memory import video
from ovdeploy.export.models.promptable.memory.sizes import MemorySizes
from ovdeploy.export.models.promptable.memory.video import VideoSam2
from ovdeploy.export.models.promptable.sam import DecoderSizes
from ovdeploy.export.models.promptable.sam2 import MICRO
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import load_recipe

EDGE = [row for row in TRANSFORMERS_EDGETAM.rows if row not in IMAGE]

SIDE, CHANNELS = 256, 128
"""Pointers of two tokens: transformers fixes the memory's width to 64."""


class Kind(NamedTuple):
    """A model to compare."""

    theirs: str
    """transformers' name of it."""
    changes: Mapping[str, Any]
    """To its configuration."""
    ours: Mapping[str, Any]
    """Of our memory's sizes."""
    rows: Sequence[Row] = ()
    """Names of its tensors, where they are not those of SAM 2."""


OLD = {"enable_occlusion_spatial_embedding": False, "enable_temporal_pos_encoding_for_object_pointers": False}
NEW = dict.fromkeys(OLD, True)
WIDE = {"memory_attention_feed_forward_hidden_size": 64}
FEW = {
    "memory_attention_mlp_hidden_size": 64,
    "memory_attention_rope_k_sizes": [8, 8],
    "perceiver_resampler_num_latents": 24,
    "perceiver_resampler_num_latents_2d": 64,
}

KINDS = {
    "2.1": Kind("Sam2Video", {**WIDE, **NEW}, {}),
    "2.0": Kind("Sam2Video", {**WIDE, **OLD}, video.OLD),
    # its own image encoder is compared elsewhere; transformers cannot make a small one
    "edgetam": Kind("EdgeTamVideo", {**FEW, **OLD}, {**video.EDGE, "latents": 24, "windows": 8}, (*IMAGE, *EDGE)),
}


def config(kind: Kind):
    import transformers
    from transformers import Sam2HieraDetConfig, Sam2VisionConfig

    trunk = Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[SIDE, SIDE],
        blocks_per_stage=list(MICRO.depths),
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=list(MICRO.windows),
        global_attention_blocks=list(MICRO.everywhere),
    )
    vision = Sam2VisionConfig(
        backbone_config=trunk,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[64, 64], [32, 32], [16, 16]],
        fpn_hidden_size=CHANNELS,
    )
    return getattr(transformers, f"{kind.theirs}Config")(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": CHANNELS, "image_size": SIDE},
        mask_decoder_config={
            "hidden_size": CHANNELS,
            "mlp_dim": 128,
            "num_attention_heads": 4,
            "iou_head_hidden_dim": 64,
        },
        image_size=SIDE,
        memory_attention_hidden_size=CHANNELS,
        memory_attention_num_layers=2,
        memory_encoder_hidden_size=CHANNELS,
        mask_downsampler_embed_dim=CHANNELS,
        memory_fuser_embed_dim=CHANNELS,
        memory_fuser_intermediate_dim=4 * CHANNELS,
        memory_attention_rope_feat_sizes=[16, 16],
        memory_encoder_output_channels=64,
        **kind.changes,
    )


def lively(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """No weight is left at 0, 1 or 1e-6, where a wrong place would not show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            near = 0.3 if value.ndim < 2 else 0.1 if value.numel() > 4096 else 0.2
            value.add_(near * torch.randn(value.shape, generator=generator))
    return model.eval()


@cache
def pair(name: str, seed: int = 0):
    """transformers' model of a kind and ours, the weights brought over by the naming."""
    import transformers

    kind = KINDS[name]
    torch.manual_seed(seed)
    theirs = lively(getattr(transformers, f"{kind.theirs}Model")(config(kind)), seed)
    shared = theirs.shared_image_embedding.positional_embedding  # one tensor in every published file
    theirs.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    sizes = DecoderSizes(frame=SIDE, grid=16, channels=CHANNELS, heads=4, mlp=128, iou=64)
    memory = MemorySizes(**{"channels": CHANNELS, "grid": 16, "width": 64, "mlp": 64, "layers": 2, **kind.ours})
    ours = VideoSam2(Hiera(MICRO), sizes, memory)
    naming = TRANSFORMERS_SAM2._replace(rows=kind.rows or TRANSFORMERS_SAM2.rows)
    ours.load_state_dict(fit(theirs.state_dict(), ours, Reading((naming,)), "ours", "transformers'").state)
    return theirs, ours.eval()


def networks_of(model: VideoSam2) -> Networks:
    """A model in the place of `sam2-video-micro`'s."""
    return Networks(load_recipe("sam2-video-micro"), {"sam": model}, {})


def clip(frames: int) -> np.ndarray:
    """[F, 256, 256, 3] uint8: three shapes that move over noise."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (SIDE, SIDE, 3)).astype(np.uint8)
    made = np.repeat(ground[None], frames, axis=0)
    y, x = np.mgrid[:SIDE, :SIDE]
    for t in range(frames):
        made[t][(x - 60 - 9 * t) ** 2 + (y - 70) ** 2 < 900] = (230, 40, 40)
        made[t][(abs(x - 180 + 5 * t) < 25) & (abs(y - 180) < 30)] = (40, 220, 60)
        made[t][(x - 90) ** 2 + (y - 200 + 6 * t) ** 2 < 500] = (60, 60, 240)
    return made
