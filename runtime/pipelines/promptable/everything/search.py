"""The search: crop by crop, a grid of points, their masks, and suppression within and between crops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....geometry.sizes import HW
from ....reporting import Clock, Reporter
from ...prompt_input import Prompt
from ...prompted import PromptablePhoto, low_res_answers
from .candidates import Candidate, boxes_of, candidates_in
from .crops import Crop, crops_of, cut_off
from .parameters import EverythingParameters
from .small_parts import without_small_parts
from .suppression import suppress

Rounds = Callable[[Crop], Sequence[np.ndarray]]
"""The grids that a crop is asked by, one after another: [n, 2] x y in the unit square each."""


@dataclass
class Search:
    """A search through one photo.

    Attributes:
        settings: the parameters in force.
        rounds: what is asked in each crop.
        clock: gets the time of every step.
        progress: is told after each call of the decoder.
        asked: points that the decoder was asked so far.
    """

    settings: EverythingParameters
    rounds: Rounds
    clock: Clock
    progress: Reporter
    asked: int = 0

    def run(self, photo: np.ndarray, encode: Callable[[np.ndarray], PromptablePhoto]) -> list[Candidate]:
        """Everything in a photo, in the order of the reference.

        Args:
            photo: [H, W, 3] uint8 RGB.
            encode: the encoder, of the photo and of crops.
        """
        hw, settings = (photo.shape[0], photo.shape[1]), self.settings
        crops = crops_of(hw, settings.crop_layers, settings.crop_overlap)
        total = sum(len(points) for crop in crops for points in self.rounds(crop))
        passed, found = 0, list[Candidate]()
        for crop in crops:
            with self.clock("encode"):
                encoded = encode(np.ascontiguousarray(crop.of(photo)))
            for points in self._crop(encoded, crop, hw, found):
                passed += points
                self.progress(f"{passed} of {total} points", share=passed / total)
        with self.clock("suppress"):
            return self._between_crops(found, crops, hw)

    def _crop(self, encoded: PromptablePhoto, crop: Crop, photo_hw: HW, found: list[Candidate]) -> Iterator[int]:
        """Search one crop and add what it holds to `found`; yields how many points each step has dealt with."""
        own: list[Candidate] = []
        for grid in self.rounds(crop):
            places = grid * crop.hw[::-1]
            if self.settings.coarse_to_fine:
                places = _uncovered(places, own, crop)
            yield len(grid) - len(places)
            for points, low_res, estimates in self._answers(encoded, places):
                with self.clock("masks"):
                    came = [*candidates_in(low_res, estimates, points, crop, encoded.frame, self.settings)]
                    whole = ~cut_off(boxes_of(came), crop, photo_hw)
                own += [each for each, kept in zip(came, whole, strict=True) if kept]
                yield len(points)
        with self.clock("suppress"):
            best = suppress(boxes_of(own), _column(each.iou for each in own), self.settings.box_threshold)
            found += [own[index] for index in best]

    def _answers(
        self, encoded: PromptablePhoto, places: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Points [R, 2], logits [R, 4, m, m] and estimates [R, 4] of every call of the decoder."""
        calls, first = low_res_answers(encoded, [Prompt(place[None]) for place in places]), 0
        while True:
            with self.clock("decoder"):
                came = next(calls, None)
            if came is None:
                return
            last = first + len(came[1])
            yield places[first:last], *came
            self.asked, first = self.asked + last - first, last

    def _between_crops(self, found: list[Candidate], crops: Sequence[Crop], photo_hw: HW) -> list[Candidate]:
        settings = self.settings
        if len(crops) > 1:
            smallness = _column(1 / each.crop.area for each in found)
            found = [found[index] for index in suppress(boxes_of(found), smallness, settings.crop_box_threshold)]
        if settings.min_area > 0:
            threshold = max(settings.box_threshold, settings.crop_box_threshold)
            found = without_small_parts(found, photo_hw, settings.min_area, threshold)
        return found


def _column(values: Iterable[float]) -> np.ndarray:
    return np.fromiter(values, np.float32)


def _uncovered(places: np.ndarray, found: Sequence[Candidate], crop: Crop) -> np.ndarray:
    """Points that lie in no mask found so far.

    Args:
        places: [n, 2] float64, x y in the crop's pixels.
        found: masks, in the photo's pixels.
        crop: where the points are.
    """
    height, width = crop.hw
    x = np.minimum(places[:, 0].astype(np.intp), width - 1) + crop.x0
    y = np.minimum(places[:, 1].astype(np.intp), height - 1) + crop.y0
    free = np.ones(len(places), bool)
    for each in found:
        x0, y0, x1, y1 = each.box
        near = np.flatnonzero(free & (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
        free[near] = ~each.inside[y[near] - y0, x[near] - x0]
    return places[free]
