"""ESC-Net's pseudo prompts: where a word may be, as points and masks for SAM. Arithmetic of fixed steps, no parameters.

The likeness of a word to every place becomes a probability; what passes a threshold is divided into regions by k-means
over places; each region gives the point where it is most probable, and its probabilities as a mask. The paper says so
much; what it leaves open is a field of `PromptSizes`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

TIE = 2e-5
"""Of the map's side, squared: by so much is each centre farther than those before it. Places are on a grid, so equal
distances are common, and rounding would decide them."""


class PromptSizes(NamedTuple):
    """How pseudo prompts are made."""

    objects: int = 5
    """Points and masks of a word: the paper's N_o (section 4.3)."""
    temperature: float = 0.07
    """Of the softmax over places. The paper gives none; this is the one that CLIP's training began with."""
    threshold: float = 0.5
    """Of the probability, by its largest. The paper's α, whose value it does not give; by the largest, so that it
    depends on neither the grid nor the word, and no word is without a place."""
    rounds: int = 10
    """Of k-means (Lloyd's). The paper names the algorithm alone."""


class Prompts(NamedTuple):
    """Points and masks of each word."""

    places: torch.Tensor
    """[T, K] int64: the points' places, row by row on the map."""
    used: torch.Tensor
    """[T, K] bool: whether there is such a point; fewer places than objects leave some out."""
    masks: torch.Tensor
    """[T, K, N]: the probability within a region by the largest, 0 outside."""


class PseudoPrompts(nn.Module):
    """Maps to prompts."""

    positions: torch.Tensor
    ties: torch.Tensor

    def __init__(self, grid: int, sizes: PromptSizes) -> None:
        super().__init__()
        self.sizes = sizes
        rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
        positions = torch.stack([columns, rows], dim=-1).flatten(0, 1).float()
        self.register_buffer("positions", positions, persistent=False)  # [N, 2], x y
        self.register_buffer("ties", TIE * grid**2 * torch.arange(sizes.objects)[:, None].float(), persistent=False)

    def forward(self, maps: torch.Tensor) -> Prompts:
        """Prompts of maps [T, N]."""
        shares = self.probabilities(maps)
        regions = self.regions(shares > self.sizes.threshold, maps.argmax(dim=1))
        masks = regions * shares[:, None]
        return Prompts(masks.argmax(dim=2), regions.sum(dim=2) > 0, masks)

    def probabilities(self, maps: torch.Tensor) -> torch.Tensor:
        """[T, N] → the same: the softmax over places, divided by its largest value."""
        return torch.exp((maps - maps.amax(dim=1, keepdim=True)) / self.sizes.temperature)

    def regions(self, inside: torch.Tensor, peaks: torch.Tensor) -> torch.Tensor:
        """[T, K, N], 1 where a place belongs to a region: k-means over the places inside, from the peak on.

        Args:
            inside: [T, N] bool.
            peaks: [T] int64, a place inside.
        """
        centres = self.spread(inside, peaks)
        for _ in range(self.sizes.rounds):
            regions = self.nearest(inside, centres)
            counts = regions.sum(dim=2, keepdim=True)
            means = regions @ self.positions / counts.clamp(min=1)
            centres = torch.where(counts > 0, means, centres)
        return self.nearest(inside, centres)

    def spread(self, inside: torch.Tensor, peaks: torch.Tensor) -> torch.Tensor:
        """[T, K, 2]: the peak, then each time the place inside that is farthest from all so far; of equals the first.

        Distances are whole numbers. Multiplied by the number of places, less the place's own, they have no equals, and
        float32 holds them exactly: so every engine chooses the same.
        """
        count = len(self.positions)
        order = torch.arange(count, device=peaks.device)
        centres = [self.positions[peaks]]
        least = self.distances(centres[0])
        for _ in range(self.sizes.objects - 1):
            ranked = torch.where(inside, least * count - order, -count)
            centres.append(self.positions[ranked.argmax(dim=1)])
            least = torch.minimum(least, self.distances(centres[-1]))
        return torch.stack(centres, dim=1)

    def nearest(self, inside: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        """[T, K, N] float32, 1 where a centre is the nearest of a place inside; of equals the first."""
        chosen = (self.distances(centres) + self.ties).argmin(dim=1, keepdim=True)  # [T, 1, N]
        numbers = torch.arange(self.sizes.objects, dtype=torch.float32, device=chosen.device)[:, None]
        return ((chosen.float() == numbers) & inside[:, None]).float()  # as int64 some engines would not compare them

    def distances(self, centres: torch.Tensor) -> torch.Tensor:
        """[…, 2] → […, N], squared."""
        x, y = (centres[..., axis, None] - self.positions[:, axis] for axis in (0, 1))
        return x * x + y * y
