"""Position embeddings of another grid, brought to the model's by the rule of the library that the model is of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from .naming import StateDict

Resampler = Callable[[StateDict, nn.Module], torch.Tensor]
"""Gives the new embeddings, from all tensors of a file under the model's names, and the model."""


class Positions(NamedTuple):
    """A tensor of position embeddings, and how it changes its grid."""

    name: str
    before: Callable[[nn.Module], int]
    """Embeddings before those of the grid: of the class token and its like."""
    axis: int
    """The axis along which positions lie."""
    resample: Resampler
    rule: str
    """For the user: whose rule it is."""


def _open_clip(tensors: StateDict, module: nn.Module) -> torch.Tensor:
    from open_clip.model import resize_pos_embed

    state = {VISUAL: tensors[VISUAL].float()}
    resize_pos_embed(state, module)
    return state[VISUAL]


def _timm(tensors: StateDict, module: nn.Module) -> torch.Tensor:
    from timm.layers import resample_abs_pos_embed

    grid: tuple[int, int] = module.get_submodule("patch_embed").grid_size  # type: ignore[assignment]
    patches: torch.Tensor = resample_abs_pos_embed(
        tensors[PLAIN].float(), new_size=list(grid), num_prefix_tokens=_timm_extra(module)
    )
    return patches


def _timm_extra(module: nn.Module) -> int:
    return 0 if getattr(module, "no_embed_class", False) else int(getattr(module, "num_prefix_tokens", 1))


VISUAL, PLAIN = "visual.positional_embedding", "pos_embed"

CLIP_POSITIONS = Positions(
    VISUAL, lambda module: 1, 0, _open_clip, "open_clip's resize_pos_embed: bicubic, antialiased"
)
VIT_POSITIONS = Positions(
    PLAIN, _timm_extra, 1, _timm, "timm's resample_abs_pos_embed: bicubic, antialiased"
)  # fmt: skip


def to_grid(tensors: StateDict, module: nn.Module, positions: Positions) -> str:
    """Bring a file's position embeddings to the model's grid, in place, where they have another and both are squares.

    Returns:
        What was done, for the user; empty where nothing was.
    """
    wanted = module.state_dict().get(positions.name)
    given = tensors.get(positions.name)
    if wanted is None or given is None or given.ndim != wanted.ndim or given.shape == wanted.shape:
        return ""
    before, axis = positions.before(module), positions.axis
    sides = [math.isqrt(max(each.shape[axis] - before, 0)) for each in (given, wanted)]
    squares = all(
        side > 0 and side**2 + before == each.shape[axis] for side, each in zip(sides, (given, wanted), strict=True)
    )
    others_fit = given.shape[:axis] == wanted.shape[:axis] and given.shape[axis + 1 :] == wanted.shape[axis + 1 :]
    if not squares or not others_fit or not given.is_floating_point():
        return ""
    tensors[positions.name] = positions.resample(tensors, module)
    old, new = sides
    return f"{positions.name} resampled from a grid of {old}×{old} to {new}×{new} ({positions.rule})"
