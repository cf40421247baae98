"""A CAT-Seg of ours under the names of its public trainer, written apart from the table that reads them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

PARTS = ("q", "k", "v")
CLIP, HEAD = "sem_seg_head.predictor.clip_model.", "sem_seg_head.predictor."


def public_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of a model under the names that CAT-Seg's trainer gives it, written the other way round."""
    named: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        start, _, rest = name.partition(".")
        if rest.endswith("in_proj_weight"):
            stem = rest.removesuffix("in_proj_weight")
            named |= {f"{CLIP}{stem}{part}_proj_weight": t for part, t in zip(PARTS, tensor.chunk(3), strict=True)}
        elif start == "clip":
            named[CLIP + rest] = tensor
        else:
            named[rest if rest.startswith("upsample") else HEAD + rest] = tensor
    masks = [name for name in named if name.endswith("block_2.norm1.weight")]
    return named | {name.replace("norm1.weight", "attn_mask"): torch.zeros(4, 9, 9) for name in masks}
