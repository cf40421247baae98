"""Measuring CLIP's blocks on photos by Algorithm 1, and proposing those whose similarity S2CLIP should use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
import numpy as np

from ...runtime.backends.base import Session
from ...runtime.bundle.bundle import Manifest
from ...runtime.errors import ParameterError
from ...runtime.pipelines.training_free.methods import method_of
from ...runtime.pipelines.training_free.plan import plan_photo
from ...runtime.pipelines.training_free.windows import cut_windows
from ...runtime.recipe.parameters import Parameters
from .spatial_entropy import spatial_entropy

WINDOWS_PER_CALL = 2
"""All blocks of a window are some 16 MB with ViT-B/16, 57 MB with ViT-L/14: this bounds the memory."""

USUAL_SHARE = 7 / 12
"""Of the blocks, S2CLIP's own choice: 4 to 10 of 12."""

Preference = Literal["low", "high"]
TERMS = ("entropy", "gini", "gini_coefficient", "correlation")


class BlockStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """One block of CLIP, over all photos. Each photo counts once, whatever its number of windows."""

    block: int
    """Counted from 1."""
    entropy: float
    """Mean spatial entropy, H̄, in nats."""
    entropy_deviation: float
    """Standard deviation of a photo's H̄ over the photos."""
    gini: float
    """Mean of line 12 of Algorithm 1, to the letter."""
    gini_coefficient: float
    """Mean of the usual Gini coefficient."""
    correlation: float
    """Mean correlation between channels, ρ."""


class LayerMeter:
    """Adds up what Algorithm 1 says of photo after photo; memory does not grow with their number."""

    def __init__(self, manifest: Manifest, session: Session, parameters: Parameters | None = None) -> None:
        """A meter over an open engine.

        Args:
            manifest: the bundle's.
            session: its `clip_layers` engine.
            parameters: sizes of photos and windows; None means the recipe's.
        """
        self._recipe, self._dimensions = manifest.recipe, manifest.dimensions
        self._session = session
        self._parameters = parameters or manifest.recipe.parameters
        self.photos = 0
        self._mean = np.zeros(0)
        self._squares = np.zeros(0)

    def add(self, photo: np.ndarray) -> np.ndarray:
        """Measure one photo.

        Args:
            photo: [H, W, 3] uint8 RGB.

        Returns:
            [L, 4] float64: the `TERMS` of every block, averaged over the photo's windows.
        """
        hw = (photo.shape[0], photo.shape[1])
        plan = plan_photo(hw, self._parameters, method_of(self._recipe), self._dimensions)
        windows = cut_windows(photo, plan, self._parameters.crop)
        measured: np.ndarray = np.mean(list(self._measure(windows)), axis=0)
        if not self.photos:
            self._mean, self._squares = np.zeros_like(measured), np.zeros_like(measured)
        self.photos += 1
        gap = measured - self._mean
        self._mean += gap / self.photos
        self._squares += gap * (measured - self._mean)  # Welford's: stable for any number of photos
        return measured

    def _measure(self, windows: np.ndarray) -> Iterator[np.ndarray]:
        """Every window's [L, 4]. A window is a map of its own, so that its ε does not depend on its neighbours."""
        for start in range(0, len(windows), WINDOWS_PER_CALL):
            features = self._session.run({"windows": windows[start : start + WINDOWS_PER_CALL]})["features"]
            for blocks in features:  # [L, D, h, w]
                yield np.array([_terms(block) for block in blocks])

    def blocks(self) -> list[BlockStatistics]:
        """The statistics so far, block by block."""
        deviation = np.sqrt(self._squares / max(self.photos, 1))
        return [
            BlockStatistics(
                block=index + 1,
                entropy_deviation=float(deviation[index, 0]),
                **{name: float(self._mean[index, column]) for column, name in enumerate(TERMS)},
            )
            for index in range(len(self._mean))
        ]


def propose_layers(entropies: Sequence[float], count: int | None = None, prefer: Preference = "low") -> tuple[int, ...]:
    """The blocks that `similarity_layers` should name: those of the lowest (or highest) spatial entropy.

    Low entropy means that channels respond in few places, which we read as structure; S2CLIP shows the entropies but
    does not print its rule. The last block is no candidate, since the method replaces it.

    Args:
        entropies: of all blocks, in order.
        count: how many to propose; None means S2CLIP's own share of the blocks.
        prefer: which end to take.

    Returns:
        Block numbers from 1, shallow to deep; of equal ones the shallower.

    Raises:
        ParameterError: more than there are, or none.
    """
    candidates = len(entropies) - 1
    wanted = min(candidates, max(1, math.floor(len(entropies) * USUAL_SHARE + 0.5))) if count is None else count
    if not 1 <= wanted <= candidates:
        raise ParameterError(f"{wanted} blocks cannot be proposed: there are {candidates} beside the last one")
    sign = 1 if prefer == "low" else -1
    order = np.argsort(sign * np.asarray(entropies[:candidates]), kind="stable")
    return tuple(sorted(int(index) + 1 for index in order[:wanted]))


def _terms(block: np.ndarray) -> list[float]:
    """[D, h, w] → the `TERMS`."""
    measured = spatial_entropy(block[None])
    return [
        measured.mean,
        float(measured.gini.mean()),
        float(measured.gini_coefficient.mean()),
        float(measured.correlation.mean()),
    ]
