"""`detector_image`: OWLv2's picture to boxes, and to what words are compared with."""

from __future__ import annotations

import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import nn

from ....runtime.stage.contract import TensorSpec
from ..dense.clip_dense import resampled
from ..embed import Normalise, Upstream
from ..maker import UNIT, StageMaker, tensor

ROOM = 1e-4
"""Keeps the logarithms of shares finite, as OWLv2 has it."""


class OwlDetector(nn.Module):
    """OWLv2 up to the words."""

    positions: torch.Tensor
    bias: torch.Tensor

    def __init__(self, model: Upstream) -> None:
        super().__init__()
        self.model: Upstream = model
        self.normalise = Normalise(OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
        self.register_buffer("positions", resampled(model.clip.visual.positional_embedding, model.grid))
        self.register_buffer("bias", box_bias(model.grid))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """A picture to boxes.

        Args:
            image: [1, 3, S, S] RGB in [0, 1].

        Returns:
            embeddings [1, N, E] of unit length; shift and scale [1, N]; boxes [1, N, 4], centre x, centre y, width and
            height as shares of the square; objectness [1, N], a logit.
        """
        x = self.features(image)
        boxes = (self.model.box_head(x) + self.bias).sigmoid()
        return *self.model.class_head(x), boxes, self.model.objectness_head(x)[..., 0]

    def features(self, image: torch.Tensor) -> torch.Tensor:
        """[1, N, D]: a patch's token times the class token, normalised."""
        visual = self.model.clip.visual
        patches = visual.conv1(self.normalise(image)).flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.expand(patches.shape[0], 1, -1)
        x = visual.ln_pre(torch.cat([class_token, patches], dim=1) + self.positions)
        for block in (*visual.transformer.resblocks, *self.model.blocks):
            x = block(x)
        x = visual.ln_post(x)
        return self.model.layer_norm(x[:, 1:] * x[:, :1])


def box_bias(grid: int) -> torch.Tensor:
    """[N, 4] logits: a patch's box begins with its centre at the patch's lower right corner, and the patch's size."""
    ends = torch.arange(1, grid + 1, dtype=torch.float32) / grid
    y, x = torch.meshgrid(ends, ends, indexing="ij")
    centre = torch.stack([x, y], dim=-1).view(-1, 2)
    shares = torch.cat([centre, torch.full_like(centre, 1.0) / grid], dim=-1)
    return torch.log(shares + ROOM) - torch.log1p(-shares + ROOM)


def detector_inputs(side: int) -> tuple[TensorSpec, ...]:
    """What the stage takes, of a model that sees `side` pixels."""
    return (tensor("image", (1, 3, side, side), "image, RGB, y, x", "0 to 1; the photo in the top left corner"),)


def detector_outputs(count: int, length: int) -> tuple[TensorSpec, ...]:
    """What it gives: `count` boxes, each with an embedding of some length."""
    return (
        tensor("embeddings", (1, count, length), "image, box, channel", UNIT),
        tensor("shift", (1, count), "image, box", "added to cosines"),
        tensor("scale", (1, count), "image, box", "times which they are logits; above 0"),
        tensor("boxes", (1, count, 4), "image, box, centre x y, width, height", "0 to 1"),
        tensor("objectness", (1, count), "image, box", "a logit"),
    )


MAKER = StageMaker(
    module=lambda networks: OwlDetector(networks.models["detector"]),
    inputs=lambda networks: detector_inputs(networks.models["detector"].side),
    outputs=lambda networks: detector_outputs(networks.models["detector"].grid ** 2, networks.dimensions.embedding),
)
