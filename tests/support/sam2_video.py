"""transformers' Sam2VideoModel, small and lively, with our model of the same weights; and a clip to track on."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch

from ovdeploy.export.models.checkpoints.fitting import fit
from ovdeploy.export.models.promptable.hiera import Hiera
from ovdeploy.export.models.promptable.memory.sizes import MemorySizes
from ovdeploy.export.models.promptable.memory.video import VideoSam2
from ovdeploy.export.models.promptable.sam import DecoderSizes
from ovdeploy.export.models.promptable.sam2 import MICRO
from ovdeploy.export.models.sam import SAM

SIDE, CHANNELS = 256, 128
"""Pointers of two tokens: transformers fixes the memory's width to 64."""


def config(**changes):
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VisionConfig

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
    new = {"enable_occlusion_spatial_embedding": True, "enable_temporal_pos_encoding_for_object_pointers": True}
    return Sam2VideoConfig(
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
        memory_attention_feed_forward_hidden_size=64,
        memory_encoder_hidden_size=CHANNELS,
        mask_downsampler_embed_dim=CHANNELS,
        memory_fuser_embed_dim=CHANNELS,
        memory_fuser_intermediate_dim=4 * CHANNELS,
        memory_attention_rope_feat_sizes=[16, 16],
        memory_encoder_output_channels=64,
        **{**new, **changes},
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
def pair(*, old: bool = False, seed: int = 0):
    """transformers' model and ours, the weights brought over by the naming."""
    from transformers import Sam2VideoModel

    changes = {"enable_occlusion_spatial_embedding": False, "enable_temporal_pos_encoding_for_object_pointers": False}
    torch.manual_seed(seed)
    theirs = lively(Sam2VideoModel(config(**changes) if old else config()), seed)
    shared = theirs.shared_image_embedding.positional_embedding  # one tensor in every published file
    theirs.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    sizes = DecoderSizes(frame=SIDE, grid=16, channels=CHANNELS, heads=4, mlp=128, iou=64)
    memory = MemorySizes(
        channels=CHANNELS, grid=16, width=64, layers=2, mlp=64, timed_pointers=not old, occlusion=not old
    )
    ours = VideoSam2(Hiera(MICRO), sizes, memory)
    fitted = fit(theirs.state_dict(), ours, SAM.reading("micro_sam2_video"), "ours", "transformers'")
    ours.load_state_dict(fitted.state)
    return theirs, ours.eval()


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
