"""Small models of the classes that can stand in DINO's place."""

from __future__ import annotations

import timm
import torch

SMALL = {"embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 0}


def vit(**options):
    return timm.models.VisionTransformer(**{"patch_size": 14, "img_size": 70, **SMALL, **options})


def rotary():
    """DINOv3's architecture, as timm has it, narrow and shallow."""
    return timm.create_model("vit_small_patch16_dinov3", pretrained=False, img_size=64, **SMALL)


MODELS = {
    "dino": lambda: vit(patch_size=8, img_size=64),
    "dinov2": lambda: vit(init_values=0.1),
    "dinov2 with registers": lambda: vit(reg_tokens=4, no_embed_class=True, init_values=0.1),
    "dinov3": rotary,
}


def perturbed(model):
    """Zeros and equal weights, with which some models begin, would hide mistakes, and vanish in half precision."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()
