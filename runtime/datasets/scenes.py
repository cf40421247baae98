"""Drawn scenes as a dataset: exact labels, and as many photos as one likes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..boundary.arguments import public
from ..errors import DatasetError, one_of, shown
from ..geometry.limits import PHOTOS, SEEDS
from ..scenes import ALL_NAMES, FIRST_TEST_SEED, HELD_OUT, SEEN, STUFF, draw_scene
from ..scenes.names import THINGS
from .sample import Sample
from .things import parts_of

SMALLEST = 24
"""Pixels of a single thing. What is seen of a thing behind others may be less, and is nothing to look for."""


class ScenesDataset:
    """Scenes of consecutive seeds, which training never drew.

    Attributes:
        classes: every name that a scene can hold; the labels index it whatever names are given.
        entries: the same: they are words already.
    """

    title = "drawn scenes"
    classes = ALL_NAMES
    entries = ALL_NAMES
    background = False

    @public()
    def __init__(
        self,
        photos: int = 300,
        *,
        first_seed: int = FIRST_TEST_SEED,
        held_out: bool = False,
        all_names: bool = False,
    ) -> None:
        """Scenes of the seeds from `first_seed` on.

        Args:
            photos: how many.
            first_seed: of the first; training draws below `FIRST_TEST_SEED`.
            held_out: whether combinations that training never draws are among the things.
            all_names: whether all names are given for every photo, or only those present in it and all stuff.

        Raises:
            DatasetError: no photos are wanted, or too many, or the seed is negative.
        """
        if not (1 <= photos <= PHOTOS and 0 <= first_seed <= SEEDS):
            told = f"scenes need 1 to {PHOTOS:,} photos and a seed of 0 to {SEEDS:,}"
            raise DatasetError(f"{told}, got {shown(photos)} and {shown(first_seed)}")
        self._seeds = {str(seed): seed for seed in range(first_seed, first_seed + photos)}
        self.names = list(self._seeds)
        self._held_out, self._all_names = held_out, all_names

    @property
    def groups(self) -> Mapping[str, tuple[int, ...]]:
        """Things that training draws, things that it never draws, and stuff."""
        return {
            "seen things": tuple(map(ALL_NAMES.index, SEEN)),
            "held-out things": tuple(map(ALL_NAMES.index, HELD_OUT)),
            "stuff": tuple(map(ALL_NAMES.index, STUFF)),
        }

    @property
    def identity(self) -> dict[str, Any]:
        """The kind of scenes drawn, and the names given; not which seeds, so that a run on some can go on to more."""
        return {
            "name": "scenes",
            "held_out": self._held_out,
            "all_names": self._all_names,
            "classes": list(self.classes),
        }

    @public()
    def read(self, name: str) -> Sample:
        """Draw a scene.

        Raises:
            DatasetError: it is none of these scenes' names.
        """
        if name not in self._seeds:
            raise DatasetError(one_of("scene", name, self.names[:3]))
        scene = draw_scene(self._seeds[name], held_out=self._held_out)
        names = set(ALL_NAMES) if self._all_names else {*scene.names, *STUFF}
        given = tuple(index for index, each in enumerate(ALL_NAMES) if each in names)
        things = parts_of(scene.labels, range(len(THINGS)), SMALLEST)
        return Sample(scene.photo, scene.labels.astype(np.uint16), given, things)
