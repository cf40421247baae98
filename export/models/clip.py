"""CLIP, by open_clip."""

from __future__ import annotations

import logging

import open_clip
from torch import nn

from .checkpoints.activations import QUICK, Told, check_activation, refuse_other
from .checkpoints.clip_names import CLIP_NAMINGS
from .checkpoints.fitting import Reading
from .checkpoints.positions import CLIP_POSITIONS
from .families import MICRO, TINY, ModelFamily, StateDict
from .miniature.networks import build_clip


def _build(name: str) -> nn.Module:
    if name == TINY:
        return build_clip()
    if name != MICRO:
        logging.disable(logging.WARNING)  # it warns that there are no pretrained weights; they are filled in later
        try:
            return open_clip.create_model(name, pretrained=None)
        finally:
            logging.disable(logging.NOTSET)
    vision = open_clip.CLIPVisionCfg(image_size=96, patch_size=16, width=64, layers=3, head_width=16)
    text = open_clip.CLIPTextCfg(context_length=77, vocab_size=49408, width=64, heads=4, layers=2)
    return open_clip.CLIP(64, vision, text, quick_gelu=True)


def _pretrained(name: str, tag: str) -> StateDict:
    model = open_clip.create_model(name, pretrained=tag)
    if open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"):  # open_clip warns, and goes on
        refuse_other(Told(QUICK, "as open_clip's table says"), model)
    return model.state_dict()


CLIP = ModelFamily(
    lambda: [MICRO, TINY, *(name for name in open_clip.list_models() if name.startswith("ViT-"))],
    _build,
    _pretrained,
    reading=lambda name: Reading(CLIP_NAMINGS, (CLIP_POSITIONS,), check=check_activation),
)
