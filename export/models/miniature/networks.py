"""The miniature models: open_clip's, timm's and segment_anything's own modules, narrow and shallow.

Their structure is that of the full-size ones (SAM's padded windows, relative positions and last global block included),
so an exported graph has the same operators.
"""

from __future__ import annotations

from functools import partial

import open_clip
import timm
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

from .words import cut_vocabulary

WINDOW = 96
"""Side of the windows that CLIP and the extractor are trained on, in pixels."""
CONTEXT = 24
SAM_SIDE, SAM_PATCH, SAM_CHANNELS = 512, 16, 64


def build_clip() -> nn.Module:
    """CLIP of width 128: an image tower of 6 blocks on patches of 8 pixels, a text tower of 3."""
    vision = open_clip.CLIPVisionCfg(image_size=WINDOW, patch_size=8, width=128, layers=6, head_width=32)
    words = len(cut_vocabulary().tokens)
    text = open_clip.CLIPTextCfg(context_length=CONTEXT, vocab_size=words, width=128, heads=4, layers=3)
    return open_clip.CLIP(128, vision, text, quick_gelu=True)


def build_dino() -> nn.Module:
    """A ViT of DINO's layout: width 96, 4 blocks, patches of 8 pixels."""
    return timm.models.VisionTransformer(
        img_size=WINDOW, patch_size=8, embed_dim=96, depth=4, num_heads=3, num_classes=0
    )


def build_sam(width: int = 96, heads: int = 3) -> nn.Module:
    """SAM on 512 pixels with a grid of 32 × 32: 4 blocks, two of them global; decoder of width 64."""
    grid = SAM_SIDE // SAM_PATCH
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=SAM_SIDE,
            patch_size=SAM_PATCH,
            embed_dim=width,
            depth=4,
            num_heads=heads,
            out_chans=SAM_CHANNELS,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=7,
            global_attn_indexes=(1, 3),
        ),
        prompt_encoder=PromptEncoder(SAM_CHANNELS, (grid, grid), (SAM_SIDE, SAM_SIDE), mask_in_chans=16),
        mask_decoder=MaskDecoder(
            transformer_dim=SAM_CHANNELS,
            transformer=TwoWayTransformer(depth=2, embedding_dim=SAM_CHANNELS, num_heads=4, mlp_dim=128),
            iou_head_hidden_dim=64,
        ),
    )
