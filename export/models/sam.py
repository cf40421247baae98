"""SAM, by segment_anything."""

from __future__ import annotations

from pathlib import Path

import segment_anything
import torch
from torch import nn

from ...runtime.errors import WeightsError
from .families import MICRO, TINY, ModelFamily, StateDict
from .miniature.networks import build_sam as build_miniature
from .weights import read_checkpoint

RELEASE = "https://dl.fbaipublicfiles.com/segment_anything/{}.pth"


def build_sam(name: str) -> nn.Module:
    """A SAM by its name."""
    if name == TINY:
        return build_miniature()
    if name == MICRO:
        return build_miniature(width=64, heads=4)
    return segment_anything.sam_model_registry[name]()


def pretrained_sam(name: str, tag: str) -> StateDict:
    """Meta's release: a file whose name ends in the first digits of its SHA-256.

    Raises:
        WeightsError: it cannot be fetched.
    """
    try:
        path = torch.hub.get_dir() + f"/checkpoints/{tag}.pth"
        prefix = tag.rsplit("_", 1)[-1]
        torch.hub.download_url_to_file(RELEASE.format(tag), path, hash_prefix=prefix)
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"SAM's checkpoint {tag} cannot be fetched: {error}") from error
    return read_checkpoint(Path(path))


SAM = ModelFamily(lambda: [MICRO, TINY, "vit_b", "vit_l", "vit_h"], build_sam, pretrained_sam)
