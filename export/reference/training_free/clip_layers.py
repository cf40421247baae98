"""`clip_layers`: windows to the features of all of CLIP's blocks, for measuring them."""

from __future__ import annotations

import torch

from .clip_image import ClipTower


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
