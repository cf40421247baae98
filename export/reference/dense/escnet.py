"""`escnet`: a crop's features and words to logits; `escnet_blocks`: the same on given prompts, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ...models.dense.escnet import Answer
from ...models.dense.pseudo_prompts import Prompts
from ..embed import Upstream
from ..maker import StageMaker, tensor
from .aggregate import inputs, outputs

if TYPE_CHECKING:
    from ..networks import Networks


class EscNet(nn.Module):
    """The head on one crop."""

    def __init__(self, model: Upstream) -> None:
        super().__init__()
        self.transformer: Upstream = model.seg_head.transformer

    def forward(
        self, dense: torch.Tensor, finer: torch.Tensor, finest: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """Features [1, …] and text [T, C] → logits [T, 4h, 4w]."""
        return self.transformer(dense, finer, finest, text)


class EscNetBlocks(nn.Module):
    """The head on prompts that are given. Each block's map, and the points that it would choose from it itself."""

    def __init__(self, model: Upstream) -> None:
        super().__init__()
        self.transformer: Upstream = model.seg_head.transformer

    def forward(
        self,
        dense: torch.Tensor,
        finer: torch.Tensor,
        finest: torch.Tensor,
        text: torch.Tensor,
        places: torch.Tensor,
        masks: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Features [1, …], text [T, C], and prompts of L blocks: places [T, L, K] int64, masks [T, L, K, h, w].

        Returns:
            Logits [T, 4h, 4w]; maps [T, L, h, w]; points [T, L, K, 2], x and y of places; labels [T, L, K], SAM's, 1
            where there is a point and −1 where there is none.
        """
        flat = masks.flatten(3)
        blocks = range(flat.shape[1])
        given = [Prompts(places[:, n], flat[:, n].amax(dim=2) > 0, flat[:, n]) for n in blocks]
        answer = self.transformer.answer(dense, finer, finest, text, given)
        chosen = [self.transformer.pseudo_prompts(each.flatten(1)) for each in answer.maps]
        points = [self.transformer.pseudo_prompts.positions[prompts.places] for prompts in chosen]
        labels = [2 * prompts.used.float() - 1 for prompts in chosen]
        return answer.logits, *(torch.stack(each, dim=1) for each in (answer.maps, points, labels))


Tensors = dict[str, torch.Tensor]


def blocks_case(transformer: Upstream, given: Tensors) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of `escnet_blocks` where its prompts are those that the head makes itself.

    Args:
        transformer: the head's.
        given: inputs of `escnet`.
    """
    answer: Answer = transformer.answer(*given.values())
    grid = transformer.sizes.grid
    places = torch.stack([prompts.places for prompts in answer.prompts], dim=1)
    masks = torch.stack([prompts.masks for prompts in answer.prompts], dim=1).unflatten(3, (grid, grid))
    points = transformer.pseudo_prompts.positions[places]
    labels = 2 * torch.stack([prompts.used for prompts in answer.prompts], dim=1).float() - 1
    made = {"logits": answer.logits, "maps": torch.stack(answer.maps, dim=1), "points": points, "labels": labels}
    return {**given, "places": places, "masks": masks}, made


def _blocks_inputs(networks: Networks) -> tuple[TensorSpec, ...]:
    sizes = networks.models["dense"].sizes
    of_word = ("T", sizes.blocks, sizes.prompts.objects)
    return (
        *inputs(networks),
        tensor("places", of_word, "word, block, prompt", "place on the map, row by row", "int64"),
        tensor("masks", (*of_word, sizes.grid, sizes.grid), "word, block, prompt, y, x", "0 to 1; all 0: no prompt"),
    )


def _blocks_outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    sizes = networks.models["dense"].sizes
    of_word = ("T", sizes.blocks, sizes.prompts.objects)
    return (
        *outputs(networks),
        tensor("maps", ("T", sizes.blocks, sizes.grid, sizes.grid), "word, block, y, x"),
        tensor("points", (*of_word, 2), "word, block, prompt, x y", "places of the map"),
        tensor("labels", of_word, "word, block, prompt", "1, or -1 for no point"),
    )


MAKER = StageMaker(module=lambda networks: EscNet(networks.models["dense"]), inputs=inputs, outputs=outputs)
BLOCKS_MAKER = StageMaker(
    module=lambda networks: EscNetBlocks(networks.models["dense"]), inputs=_blocks_inputs, outputs=_blocks_outputs
)
