"""`clip_image`: windows to dense features, which say what things mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ..embed import Normalise, Upstream, resample_positions
from ..maker import StageMaker, tensor
from .attention import ATTENTIONS, Grid
from .tensors import dino_features, mean_similarity, width, windows

if TYPE_CHECKING:
    from ....runtime.pipelines.training_free.methods import Method
    from ....runtime.recipe.parameters import Parameters
    from ..networks import Networks


class ClipTower(nn.Module):
    """CLIP's image tower up to its last block, with what every kind of last block needs."""

    positions: torch.Tensor

    def __init__(self, visual: Upstream, crop: int) -> None:
        super().__init__()
        self.visual: Upstream = visual
        patch = visual.patch_size[0]
        self.clip_grid = (crop // patch, crop // patch)
        self.normalise = Normalise(OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
        self.register_buffer("positions", resample_positions(visual.positional_embedding, self.clip_grid))

    @property
    def blocks(self) -> Upstream:
        """The transformer's blocks."""
        return self.visual.transformer.resblocks

    def hidden(self, windows: torch.Tensor) -> list[torch.Tensor]:
        """[B, 3, c, c] RGB in [0, 1] → the tokens [B, 1 + N, D] before the first block, and after each but the last."""
        visual = self.visual
        patches = visual.conv1(self.normalise(windows)).flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.expand(patches.shape[0], 1, -1)
        states = [visual.ln_pre(torch.cat([class_token, patches], dim=1) + self.positions)]
        for block in self.blocks[:-1]:
            states.append(block(states[-1]))
        return states


class ClipImage(ClipTower):
    """CLIP's image tower with other attention in its last blocks (the methods table).

    For most methods that is one block, without residual and MLP.
    """

    def __init__(self, visual: Upstream, grid: Grid, method: Method, parameters: Parameters) -> None:
        super().__init__(visual, parameters.crop)
        self.method, self.grid = method, grid
        self.attention = ATTENTIONS[method.attention](grid, self.clip_grid, parameters)
        self.layers = similarity_layers(parameters, len(self.blocks)) if method.layers else ()

    def forward(self, windows: torch.Tensor, *similarity: torch.Tensor) -> torch.Tensor:
        """Windows to features.

        Args:
            windows: [B, 3, c, c] RGB in [0, 1].
            *similarity: what the attention takes beside the tokens: for `similarity`, DINO's features [B, C, h, w] and
                the mean similarity [B].

        Returns:
            [B, D, h, w], before the final norm.
        """
        states = self.hidden(windows)
        layers = [states[layer][:, 1:] for layer in self.layers]
        replaced = min(self.method.blocks, len(self.blocks))
        path = self._chosen(states[-replaced]) if self.method.residual else torch.zeros(())
        for block, state in zip(self.blocks[-replaced:], states[-replaced:], strict=True):
            mixed = self.attention(block.attn, self._chosen(block.ln_1(state)), *similarity, *layers)
            path = path + block.attn.out_proj(mixed)
        if self.method.mlp:
            path = path + block.mlp(block.ln_2(path))
        patches = path[:, 1:] if self.method.class_token else path
        return patches.transpose(1, 2).unflatten(2, self.grid)

    def _chosen(self, tokens: torch.Tensor) -> torch.Tensor:
        """The tokens that take part: all, or the patches alone."""
        return tokens if self.method.class_token else tokens[:, 1:]


def similarity_layers(parameters: Parameters, depth: int) -> tuple[int, ...]:
    """S2CLIP's blocks, counted from 1: those given, or the middle ones, 4 to 10 of 12, the same share of others."""
    if parameters.similarity_layers:
        return tuple(sorted(set(parameters.similarity_layers)))
    first, last = round(depth * 4 / 12), round(depth * 10 / 12)
    return tuple(range(max(1, first), min(last, depth - 1) + 1))


def _inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    similarity = (dino_features(networks, "dino_features"), mean_similarity()) if networks.row.proxy else ()
    return (windows(networks), *similarity)


def _outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    grid = networks.dimensions.feature_grid
    return (tensor("features", ("B", width(networks), *grid), "window, channel, y, x"),)


def facts(networks: Networks) -> dict[str, Any]:
    """The tower's row of the methods table, without its source."""
    return {name: value for name, value in msgspec.structs.asdict(networks.row).items() if name != "source"}


MAKER = StageMaker(
    module=lambda networks: ClipImage(
        networks.models["clip"].visual, networks.dimensions.feature_grid, networks.row, networks.recipe.parameters
    ),
    inputs=_inputs,
    outputs=_outputs,
    facts=facts,
)
