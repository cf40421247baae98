"""`head`: features to logits, the dot product with the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from ....runtime.stage.contract import Dim, TensorSpec
from ..embed import Upstream
from ..maker import StageMaker, tensor
from .tensors import affinity, width

if TYPE_CHECKING:
    from ..networks import Networks


class Project(nn.Module):
    """CLIP's last steps for every token: ln_post, projection, unit length, dot with the embeddings."""

    def __init__(self, visual: Upstream) -> None:
        super().__init__()
        self.norm: Upstream = visual.ln_post
        self.projection: Upstream = visual.proj

    def image_features(self, features: torch.Tensor) -> torch.Tensor:
        """[..., D] → [..., E], unit length."""
        return F.normalize(self.norm(features) @ self.projection, dim=-1)

    def forward(self, features: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """features [N, D], embeddings [Q, E] → logits [Q, N]."""
        return embeddings @ self.image_features(features).T


class FeatureHead(nn.Module):
    """Splice-then-segment: windows' features are spliced, aggregated by SAM's affinity, then projected.

    Splicing, averaging and resizing to SAM's grid are one linear map per axis (`plan.py` of the runtime's pipeline).
    """

    def __init__(self, visual: Upstream, grid: int) -> None:
        super().__init__()
        self.project = Project(visual)
        self.grid = grid

    def forward(
        self,
        window_features: torch.Tensor,
        embeddings: torch.Tensor,
        row_weights: torch.Tensor,
        column_weights: torch.Tensor,
        affinity: torch.Tensor,
    ) -> torch.Tensor:
        """Window features to logits.

        Args:
            window_features: [Wy, Wx, D, h, w].
            embeddings: [Q, E].
            row_weights: [vh, Wy, h].
            column_weights: [vw, Wx, w].
            affinity: [N, N] over SAM's whole grid, padding included.

        Returns:
            [Q, vh, vw].
        """
        vh, vw = row_weights.shape[0], column_weights.shape[0]
        columns = column_weights.flatten(1)  # [vw, Wx·w]
        rows = row_weights.flatten(1)  # [vh, Wy·h]
        # Axes are joined only where all their strides are numbers: elsewhere PyTorch 2.11 cannot export the graph.
        x = window_features.permute(0, 1, 4, 2, 3).flatten(3).flatten(1, 2)  # [Wy, Wx·w, D·h]
        x = (columns @ x).unflatten(2, window_features.shape[2:4])  # [Wy, vw, D, h]
        x = rows @ x.permute(1, 0, 3, 2).flatten(1, 2)  # [vw, vh, D]
        tokens = x.transpose(0, 1).flatten(0, 1)  # [vh·vw, D]
        return self.project(self._valid(affinity, vh, vw) @ tokens, embeddings).unflatten(1, (vh, vw))

    def _valid(self, affinity: torch.Tensor, vh: int, vw: int) -> torch.Tensor:
        """The rows and columns of valid tokens: [vh·vw, vh·vw].

        By index, since a slice would tie the exported graph to sizes below the grid's.
        """
        rows, columns = (torch.arange(n, device=affinity.device) for n in (vh, vw))
        tokens = (rows[:, None] * self.grid + columns).flatten()
        return affinity.index_select(0, tokens).index_select(1, tokens)


class WindowHead(nn.Module):
    """Segment-then-splice: every window's features are projected on their own grid."""

    def __init__(self, visual: Upstream, grid: int) -> None:
        super().__init__()
        self.project = Project(visual)

    def forward(self, window_features: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        """window_features [Wy, Wx, D, h, w], embeddings [Q, E] → logits [Q, Wy·h, Wx·w], windows side by side."""
        tokens = window_features.permute(0, 3, 1, 4, 2).flatten(2, 3)  # [Wy, h, Wx·w, D]
        size = (tokens.shape[0] * tokens.shape[1], tokens.shape[2])
        return self.project(tokens.flatten(0, 2), embeddings).unflatten(1, size)


HEADS = {"features": FeatureHead, "logits": WindowHead}
"""By what a method puts together across windows."""


def _inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    h, w = networks.dimensions.feature_grid
    inputs = [
        tensor("window_features", ("Wy", "Wx", width(networks), h, w), "window row, window column, channel, y, x"),
        tensor("embeddings", ("Q", networks.dimensions.embedding), "query, channel", "unit length"),
    ]
    if networks.row.across == "features":
        inputs += [
            tensor("row_weights", ("vh", "Wy", h), "row, window row, y", "0 to 1; sums to 1"),
            tensor("column_weights", ("vw", "Wx", w), "column, window column, x", "0 to 1; sums to 1"),
            affinity(networks),
        ]
    return tuple(inputs)


def _outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    grid: tuple[Dim, Dim] = ("vh", "vw") if networks.row.across == "features" else ("Ly", "Lx")
    return (tensor("logits", ("Q", *grid), "query, y, x", "-1 to 1 with unit embeddings"),)


MAKER = StageMaker(
    module=lambda networks: HEADS[networks.row.across](networks.models["clip"].visual, networks.dimensions.sam_grid),
    inputs=_inputs,
    outputs=_outputs,
    facts=lambda networks: networks.row.across,
)
