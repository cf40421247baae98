"""The last block's attention: what each method puts in place of softmax(qkᵀ)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn


class Similarity(nn.Module):
    """ProxyCLIP's and Trident's attention: patches attend to patches that DINO finds similar.

    A = softmax over j of γ (S_ij − β · mean S), entries below 0 masked out, S the cosine similarity within a window.
    The diagonal always stays: S_ii = 1 is a row's largest entry, so this changes nothing unless no entry is left (a
    flat photo), and then the patch attends to itself.
    """

    diagonal: torch.Tensor

    def __init__(self, grid: tuple[int, int], beta: float, gamma: float) -> None:
        super().__init__()
        self.grid, self.beta, self.gamma = grid, beta, gamma
        self.register_buffer("diagonal", torch.eye(grid[0] * grid[1], dtype=torch.bool))

    def forward(self, values: torch.Tensor, dino_features: torch.Tensor, mean_similarity: torch.Tensor) -> torch.Tensor:
        """Aggregate values.

        Args:
            values: [B, D, h', w'] on CLIP's patch grid.
            dino_features: [B, C, h, w], unit length over C.
            mean_similarity: [B].

        Returns:
            [B, D, h, w] on DINO's grid.
        """
        if values.shape[2:] != dino_features.shape[2:]:
            values = F.interpolate(values, self.grid, mode="bilinear", align_corners=False)
        unit = dino_features.flatten(2)  # [B, C, N]
        similarity = unit.transpose(1, 2) @ unit  # [B, N, N]
        scores = self.gamma * (similarity - self.beta * mean_similarity[:, None, None])
        weights = scores.masked_fill((scores < 0) & ~self.diagonal, float("-inf")).softmax(dim=-1)
        return (values.flatten(2) @ weights.transpose(1, 2)).unflatten(2, self.grid)


class Values(nn.Module):
    """MaskCLIP's attention: every patch attends to itself alone."""

    def __init__(self, grid: tuple[int, int], beta: float, gamma: float) -> None:
        super().__init__()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """[B, D, h, w], unchanged."""
        return values


ATTENTIONS: dict[str, Callable[[tuple[int, int], float, float], nn.Module]] = {
    "similarity": Similarity,
    "values": Values,
}
"""By the methods table's name; made from the features' grid, β and γ."""
