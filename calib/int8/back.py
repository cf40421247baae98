"""Products that go back to float until a stage's outputs are close enough to FP32's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from ...runtime.graph.products import Product
from ...runtime.recipe.int8 import Int8Settings
from ...runtime.reporting import Reporter
from .meter import Measured, Meter, Variant
from .stage import Choice


class Back:
    """Units of one stage in the order in which they go back: the most sensitive first."""

    def __init__(
        self, meter: Meter, settings: Int8Settings, units: Sequence[Sequence[Product]], tell: Reporter
    ) -> None:
        """What can go back.

        Args:
            meter: measures.
            settings: what must hold: `cosine`; `relative`, as far as `share` allows.
            units: products that go together.
            tell: is told what goes.
        """
        self._meter, self._settings, self._units, self._tell = meter, settings, units, tell

    def put(self, choice: Choice) -> Choice:
        """The choice without the products that must be float."""
        if not choice.on:
            return choice
        order = sorted(self._units, key=lambda unit: -choice.errors[unit[0].node])
        return self._until_cosine(self._until_close(choice, order), order)

    def _until_close(self, choice: Choice, order: Sequence[Sequence[Product]]) -> Choice:
        """The fewest units, found by halving, with which the error is small enough; with none, as many as may go."""
        most = self._most(order)
        table, low, high = dict(choice.table), 0, most
        while low < high:
            middle = (low + high) // 2
            relative = self._measured(_fewer(choice, order, middle)).relative
            table[f"search, {_count(order, middle)} float"] = relative
            low, high = (low, middle) if relative <= self._settings.relative else (middle + 1, high)
        if most:
            relative = self._measured(_fewer(choice, order, low)).relative
            table[f"search, {_count(order, low)} float"] = relative
            self._tell(f"error {relative:.4f} with {_count(order, low)} products back in float")
        return msgspec.structs.replace(_fewer(choice, order, low), table=table)

    def _most(self, order: Sequence[Sequence[Product]]) -> int:
        """How many units may go back, so that the settings' share of all products stays quantised."""
        work = self._meter.work
        already = len(work.all) - len(work.products)
        allowed = math.floor((1 - self._settings.share) * len(work.all) + 1e-9) - already
        return sum(_count(order, count) <= allowed for count in range(1, len(order) + 1))

    def _until_cosine(self, choice: Choice, order: Sequence[Sequence[Product]]) -> Choice:
        """1, 2, 4, … units at a time, until the outputs' cosine holds."""
        gone = 0
        while True:
            now = _fewer(choice, order, gone)
            measured = self._measured(now)
            if measured.cosine >= self._settings.cosine or not now.on:
                break
            self._tell(f"cosine {measured.cosine:.5f} with {len(now.on)} products quantised; putting more back")
            gone = max(1, 2 * gone)
        same = now.on == choice.on
        return now if same else msgspec.structs.replace(now, cosine=measured.cosine, relative=measured.relative)

    def _measured(self, choice: Choice) -> Measured:
        return self._meter.of(Variant(choice.strengths, choice.weight_bits), choice.limits, choice.on)


def _fewer(choice: Choice, order: Sequence[Sequence[Product]], gone: int) -> Choice:
    """A choice without the first units of an order."""
    back = {product.node for unit in order[:gone] for product in unit}
    return msgspec.structs.replace(choice, on=tuple(node for node in choice.on if node not in back))


def _count(order: Sequence[Sequence[Product]], gone: int) -> int:
    return sum(len(unit) for unit in order[:gone])
