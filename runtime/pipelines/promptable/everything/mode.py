"""Everything mode as users call it: what they give is checked, and what was found becomes an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....errors import PromptError, shown
from ....reporting import Clock, Reporter
from ...prompted import PromptablePhoto
from .answer import Everything, instances_of
from .crops import Crop, rounds_of
from .parameters import MOST_POINTS, EverythingParameters
from .search import Search

GRIDS = (
    f"expected a grid for the photo and one for every layer of crops, each [n, 2] x y from 0 to 1 with at most "
    f"{MOST_POINTS**2:,} points"
)


def find_everything(
    photo: np.ndarray,
    encode: Callable[[np.ndarray], PromptablePhoto],
    settings: EverythingParameters,
    side: int,
    grids: Any,
    clock: Clock,
    progress: Reporter,
) -> Everything:
    """Everything in a photo.

    Args:
        photo: [H, W, 3] uint8 RGB.
        encode: the encoder, of the photo and of crops.
        settings: the parameters in force.
        side: points along a side of the whole photo's grid.
        grids: the points themselves instead, as `checked_grids` takes them; None without.
        clock: gets the time of every step.
        progress: is told after each call of the decoder.

    Raises:
        PromptError: the grids are none.
        EngineError: an engine failed or returned NaN.
    """
    given = None if grids is None else checked_grids(grids, settings.crop_layers)

    def rounds(crop: Crop) -> Sequence[np.ndarray]:
        return rounds_of(side, crop.layer, settings) if given is None else given[crop.layer : crop.layer + 1]

    search = Search(settings, rounds, clock, progress)
    found = search.run(photo, encode)
    instances = instances_of(found, (photo.shape[0], photo.shape[1]))
    return Everything(instances, photo, search.asked, 0 if grids is not None else side, clock.timings())


def checked_grids(grids: Any, layers: int) -> list[np.ndarray]:
    """A user's grids, [n, 2] float64 each.

    Args:
        grids: of the whole photo, then of each layer's crops: [n, 2] x y, as shares of width and height.
        layers: of crops.

    Raises:
        PromptError: there are too few, or one is no such array.
    """
    try:
        given, count = [grids[index] for index in range(min(len(grids), layers + 1))], len(grids)
    except Exception as error:  # an object's own methods may raise anything
        raise PromptError(f"{GRIDS}; got {shown(grids)}") from error
    if count <= layers:
        raise PromptError(f"{GRIDS}; there are {layers} layers, and {count} grids were given")
    return [_checked_grid(grid) for grid in given]


def _checked_grid(grid: Any) -> np.ndarray:
    try:
        points = np.asarray(grid)
    except Exception as error:  # likewise
        raise PromptError(f"{GRIDS}; got {shown(grid)}") from error
    if points.ndim != 2 or points.shape[1] != 2 or not 0 < len(points) <= MOST_POINTS**2:
        raise PromptError(f"{GRIDS}; got an array of shape {list(points.shape)}")
    if points.dtype.kind not in "iuf":
        raise PromptError(f"{GRIDS}; got an array of {points.dtype}")
    points = points.astype(np.float64)
    inside = ((points >= 0) & (points <= 1)).all(axis=1)  # NaN is not
    if not inside.all():
        raise PromptError(f"{GRIDS}; got {shown(points[~inside][0].tolist())}")
    return points
