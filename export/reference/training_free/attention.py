"""The methods' stand-ins for attention in CLIP's last blocks.

An attention takes a block's `attn` (whose projections and heads it uses) and the block's normalised tokens, and gives
what goes into the block's out projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ..embed import Upstream

if TYPE_CHECKING:
    from ....runtime.recipe.parameters import Parameters

Grid = tuple[int, int]
NEIGHBOUR_SIGMA = 5.0
"""NACLIP's σ, in patches."""


def split_heads(attn: Upstream, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values of [B, T, D], each [B, heads, T, d]."""
    qkv = F.linear(x, attn.in_proj_weight, attn.in_proj_bias)
    q, k, v = qkv.unflatten(2, (3, attn.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    return q, k, v


def join_heads(x: torch.Tensor) -> torch.Tensor:
    """[B, heads, T, d] → [B, T, D]."""
    return x.transpose(1, 2).flatten(2)


def project_values(attn: Upstream, x: torch.Tensor) -> torch.Tensor:
    """The values of [B, T, D], all heads side by side."""
    return F.linear(x, attn.in_proj_weight.chunk(3)[2], attn.in_proj_bias.chunk(3)[2])


def products(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """left · rightᵀ / √d: [B, heads, T, T]. The scale comes before the product: half precision overflows later."""
    return (left * left.shape[-1] ** -0.5) @ right.transpose(-2, -1)


def above_mean(similarity: torch.Tensor, mean: torch.Tensor, beta: float, gamma: float) -> torch.Tensor:
    """softmax over j of γ (S_ij − β · mean S), entries below 0 masked out (ProxyCLIP).

    The diagonal always stays: S_ii = 1 is a row's largest entry, so this changes nothing unless no entry is left (a
    flat photo), and then the patch attends to itself.

    Args:
        similarity: [B, N, N] cosine similarities.
        mean: [B].
        beta: β.
        gamma: γ.
    """
    scores = gamma * (similarity - beta * mean[:, None, None])
    diagonal = torch.eye(similarity.shape[-1], dtype=torch.bool, device=similarity.device)
    return scores.masked_fill((scores < 0) & ~diagonal, float("-inf")).softmax(dim=-1)


class Products(nn.Module):
    """The sum of softmaxes of products among the block's own queries, keys and values."""

    bias: torch.Tensor

    def __init__(self, pairs: Sequence[str], bias: torch.Tensor | None = None) -> None:
        """`pairs`: "qk", "kk", …; `bias`: added to the products before the softmax, [T, T]."""
        super().__init__()
        self.pairs = [("qkv".index(pair[0]), "qkv".index(pair[1])) for pair in pairs]
        self.register_buffer("bias", torch.zeros(()) if bias is None else bias)

    def forward(self, attn: Upstream, x: torch.Tensor) -> torch.Tensor:
        """Normalised tokens [B, T, D] → the same shape."""
        heads = split_heads(attn, x)
        weights = [(products(heads[i], heads[j]) + self.bias).softmax(dim=-1) for i, j in self.pairs]
        return join_heads(torch.stack(weights).sum(dim=0) @ heads[2])


class SelfSelf(nn.Module):
    """GEM's attention: queries, keys and values are each smoothed by their own similarity, then vote on the values.

    Unit vectors, one smoothing step, and an inverse temperature of the tokens' mean norm over √d.
    """

    def forward(self, attn: Upstream, x: torch.Tensor) -> torch.Tensor:
        """Normalised tokens [B, T, D] → the same shape."""
        heads = split_heads(attn, x)
        sharpness = x.norm(dim=-1).mean(dim=-1)[:, None, None, None] * heads[0].shape[-1] ** -0.5
        votes = []
        for projected in heads:
            unit = F.normalize(projected, dim=-1)
            unit = F.normalize(self._weights(unit, sharpness) @ unit, dim=-1)
            votes.append(self._weights(unit, sharpness) @ heads[2])
        return join_heads(torch.stack(votes).mean(dim=0))

    def _weights(self, unit: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
        return ((unit * sharpness) @ unit.transpose(-2, -1)).softmax(dim=-1)


class Similarity(nn.Module):
    """ProxyCLIP's and Trident's attention: patches attend to patches that DINO finds similar.

    S2CLIP mixes in how similar CLIP's own middle blocks find them: S = a·S_dino + (1 − a)·P with
    P ← η·P + (1 − η)·S_l from the shallowest block to the deepest. A weighted sum of cosine similarities is the
    product of the unit features times the weights' square roots, laid side by side; so it costs one product.
    """

    def __init__(self, grid: Grid, clip_grid: Grid, parameters: Parameters) -> None:
        super().__init__()
        self.grid, self.clip_grid = grid, clip_grid
        self.beta, self.gamma = parameters.similarity_beta, parameters.similarity_gamma
        self.eta, self.dino_share = parameters.similarity_eta, parameters.dino_share

    def forward(
        self,
        attn: Upstream,
        x: torch.Tensor,
        dino_features: torch.Tensor,
        mean_similarity: torch.Tensor,
        *layers: torch.Tensor,
    ) -> torch.Tensor:
        """Aggregate values.

        Args:
            attn: the block's attention.
            x: [B, N', D] normalised patch tokens.
            dino_features: [B, C, h, w], unit length over C.
            mean_similarity: [B], of the DINO features.
            *layers: [B, N', D] patch tokens of CLIP's middle blocks, shallow to deep; none without them.

        Returns:
            [B, h·w, D].
        """
        values = self._to_grid(project_values(attn, x))
        unit = dino_features.flatten(2)  # [B, C, N]
        if layers:
            unit, mean_similarity = self._with_layers(unit, mean_similarity, layers)
        weights = above_mean(unit.transpose(1, 2) @ unit, mean_similarity, self.beta, self.gamma)
        return weights @ values

    def _with_layers(
        self, dino: torch.Tensor, mean_similarity: torch.Tensor, layers: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit features of DINO and of the blocks, weighted and side by side; and the mean of their similarity."""
        shares = [(1 - self.dino_share) * weight for weight in layer_weights(len(layers), self.eta)]
        blocks = [F.normalize(self._to_grid(F.normalize(layer, dim=-1)), dim=-1) for layer in layers]
        clip = torch.cat([block * share**0.5 for block, share in zip(blocks, shares, strict=True)], dim=-1)
        mean = self.dino_share * mean_similarity + clip.mean(dim=1).square().sum(dim=-1)
        return torch.cat([dino * self.dino_share**0.5, clip.transpose(1, 2)], dim=1), mean

    def _to_grid(self, tokens: torch.Tensor) -> torch.Tensor:
        """[B, N', D] on CLIP's grid → [B, N, D] on DINO's, bilinear."""
        if self.grid == self.clip_grid:
            return tokens
        planes = tokens.transpose(1, 2).unflatten(2, self.clip_grid)
        return F.interpolate(planes, self.grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


class Values(nn.Module):
    """MaskCLIP's attention: every patch attends to itself alone."""

    def forward(self, attn: Upstream, x: torch.Tensor) -> torch.Tensor:
        """Normalised tokens [B, T, D] → the same shape."""
        return project_values(attn, x)


def layer_weights(count: int, eta: float) -> list[float]:
    """Weights of `count` similarities in P ← η·P + (1 − η)·S, begun with P = S₁; they sum to 1."""
    return [(1.0 if index == 0 else 1 - eta) * eta ** (count - 1 - index) for index in range(count)]


def neighbour_bias(grid: Grid, sigma: float = NEIGHBOUR_SIGMA) -> torch.Tensor:
    """NACLIP's G, [1 + N, 1 + N]: exp(−‖i − j‖² / 2σ²) between places on the grid, 0 for the class token."""
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in grid))
    near = torch.exp(-torch.cdist(places, places).square() / (2 * sigma**2))
    return F.pad(near, (1, 0, 1, 0))


ATTENTIONS: dict[str, Callable[[Grid, Grid, Parameters], nn.Module]] = {
    "qk": lambda grid, clip_grid, parameters: Products(["qk"]),
    "qq": lambda grid, clip_grid, parameters: Products(["qq"]),
    "kk": lambda grid, clip_grid, parameters: Products(["kk"]),
    "vv": lambda grid, clip_grid, parameters: Products(["vv"]),
    "qq+kk": lambda grid, clip_grid, parameters: Products(["qq", "kk"]),
    "kk+near": lambda grid, clip_grid, parameters: Products(["kk"], neighbour_bias(clip_grid)),
    "self-self": lambda grid, clip_grid, parameters: SelfSelf(),
    "similarity": Similarity,
    "values": lambda grid, clip_grid, parameters: Values(),
}
"""By the methods table's name; made from the features' grid, CLIP's grid and the parameters."""
