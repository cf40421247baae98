"""`clip_layers`: windows to the features of all of CLIP's blocks, for measuring them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ....runtime.stage.contract import TensorSpec
from ..maker import StageMaker, tensor
from .clip_image import ClipTower
from .tensors import width, windows

if TYPE_CHECKING:
    from ..networks import Networks


class ClipLayers(ClipTower):
    """Patch features after every block of CLIP's image tower as it was trained, the class token left out."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Windows to features.

        Args:
            windows: [B, 3, c, c] RGB in [0, 1].

        Returns:
            [B, L, D, h, w] on CLIP's own grid.
        """
        states = self.hidden(windows)
        states.append(self.blocks[-1](states[-1]))
        patches = torch.stack(states[1:], dim=1)[:, :, 1:]  # [B, L, N, D]
        return patches.transpose(2, 3).unflatten(3, self.clip_grid)


def _outputs(networks: Networks) -> tuple[TensorSpec, ...]:
    visual = networks.models["clip"].visual
    side = networks.recipe.parameters.crop // visual.patch_size[0]
    shape = ("B", len(visual.transformer.resblocks), width(networks), side, side)
    return (tensor("features", shape, "window, block, channel, y, x (CLIP's own grid)"),)


MAKER = StageMaker(
    module=lambda networks: ClipLayers(networks.models["clip"].visual, networks.recipe.parameters.crop),
    inputs=lambda networks: (windows(networks),),
    outputs=_outputs,
)
