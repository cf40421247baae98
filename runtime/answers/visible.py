"""Instances without what others cover of them, for forms in which a pixel belongs to one thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .instance import Instance
from .rle import Rle


def visible(instances: Sequence[Instance]) -> tuple[Instance, ...]:
    """Of every instance what none before it covers; one that is covered wholly is left out.

    Args:
        instances: of one photo, the surest first.
    """
    if not instances:
        return ()
    covered = np.zeros((instances[0].mask.height, instances[0].mask.width), bool)
    parts = []
    for each in instances:
        mask = each.mask.decode()
        left = mask & ~covered
        covered |= mask
        if left.any():
            parts.append(replace(each, mask=Rle.encode(left), area=int(left.sum()), box_xyxy=box_of(left)))
    return tuple(parts)


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    """The box of a mask [H, W] bool that is not empty: x₀, y₀, x₁, y₁, inclusive."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
