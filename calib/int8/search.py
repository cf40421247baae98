"""Choosing ranges, balancing, the bits of weights, and what stays float, by the error at a stage's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec
import numpy as np

from ...runtime.graph.products import Product
from ...runtime.reporting import Reporter
from .back import Back
from .meter import Meter, Variant
from .ranges import methods_for
from .stage import Choice, Work
from .steps import Steps

UNITS: dict[str, Callable[[Product], str]] = {
    "product": lambda product: product.node,
    "block": lambda product: product.block or product.node,
    "stage": lambda product: "",
}
"""Keys that products of one unit share."""

WORTH = 0.9
"""A multiplication of its own must bring a value's error to this part, or below."""

Way = tuple[float, str]
"""A strength of balancing, and a method for ranges."""


class StageSearch:
    """The search of one stage."""

    def __init__(self, work: Work, steps: Steps, backend: str, tell: Reporter) -> None:
        """A search.

        Args:
            work: the stage, observed.
            steps: keeps the measurements.
            backend: what runs the engines that are compared.
            tell: is told what is found.
        """
        self.work, self.settings, self.tell = work, work.settings, tell
        self.meter = Meter(work, steps, backend)
        self.methods = methods_for(work.format, work.settings.ranges)
        self.bits = work.settings.weight_bits if work.format.integer else (8,)
        self.every = tuple(product.node for product in work.products)
        self._limits: dict[Way, dict[str, float]] = {}

    def find(self) -> Choice:
        """The choice with which the least error was measured, with what must be float for the settings to hold."""
        try:
            whole = self._whole()
            mixed = self._mixed(whole)
            self.tell(", ".join(f"{name} {error:.4f}" for name, error in mixed.table.items()))
            choice = min((whole, mixed), key=lambda choice: choice.relative)
            choice = self._bits(msgspec.structs.replace(choice, table=mixed.table, errors=mixed.errors))
            back = Back(self.meter, self.settings, self.units(), self.tell)
            return self._proved(choice, back.put(choice))
        finally:
            self.meter.close()

    def units(self) -> list[list[Product]]:
        """Units that get one method, and go back to float together: products, blocks, or the whole stage."""
        found: dict[str, list[Product]] = {}
        for product in self.work.products:
            found.setdefault(UNITS[self.settings.search](product), []).append(product)
        return list(found.values())

    def _whole(self) -> Choice:
        """The best of every method with every strength of balancing, on all products at once."""
        table: dict[str, float] = {}
        tried: dict[Way, float] = {}
        for smoothing in self.settings.smoothing:
            for method in self.methods:
                way = smoothing, method
                relative = self.meter.of(self._variant(smoothing), self._limits_of(way), self.every).relative
                table[_named(method, smoothing)] = tried[way] = relative
        smoothing, method = way = min(tried, key=lambda way: tried[way])
        limits = self._limits_of(way)
        return Choice(
            smoothing=smoothing, method=method, limits=limits, methods=dict.fromkeys(limits, method), on=self.every,
            errors={}, table=table, cosine=1.0, relative=tried[way], strengths=dict(self._variant(smoothing).strengths),
        )  # fmt: skip

    def _mixed(self, whole: Choice) -> Choice:
        """For every unit the way with the least error, it alone being quantised."""
        ways = self._alone(whole)
        strengths = self._strengths(ways, whole.smoothing)
        at = {product.node: strengths[name] for name, site in self.work.sites.items() for product in site.products}
        limits: dict[str, float] = {}
        methods: dict[str, str] = {}
        errors: dict[str, float] = {}
        for product in self.work.products:
            strength = at.get(product.node, whole.smoothing)
            found = {way: errors_of[product.node] for way, errors_of in ways.items() if way[0] == strength}
            best = min(found, key=lambda way: found[way])
            errors[product.node] = found[best]
            if product.value not in limits:  # a value that several products read keeps the first one's
                limits[product.value], methods[product.value] = self._limits_of(best)[product.value], best[1]
        measured = self.meter.of(Variant(strengths), limits, self.every)
        return msgspec.structs.replace(
            whole, method="search", limits=limits, methods=methods, errors=errors, strengths=strengths,
            table=whole.table | {"search": measured.relative}, relative=measured.relative,
        )  # fmt: skip

    def _alone(self, whole: Choice) -> dict[Way, dict[str, float]]:
        """For every way that is tried, every product's error when its unit alone is quantised."""
        units = self.units()
        alone = self.settings.search != "stage"
        ways = [(strength, method) for strength in self.settings.smoothing for method in self.methods]
        errors: dict[Way, dict[str, float]] = {}
        for way in ways if alone else [(whole.smoothing, whole.method)]:
            found = errors[way] = {}
            for unit in units:
                on = [product.node for product in unit]
                error = self.meter.of(self._variant(way[0]), self._limits_of(way), on).relative
                found |= dict.fromkeys(on, error)
            if alone:
                self.tell(f"{_named(way[1], way[0])}: products one at a time add {_root(found.values()):.4f} in all")
        return errors

    def _strengths(self, ways: Mapping[Way, Mapping[str, float]], usual: float) -> dict[str, float]:
        """For every site the strength with which its products' errors, at their best methods, are least."""
        tried = list(dict.fromkeys(strength for strength, _ in ways))
        chosen: dict[str, float] = {}
        for name, site in self.work.sites.items():
            error = {
                strength: _root(
                    min(errors[product.node] for way, errors in ways.items() if way[0] == strength)
                    for product in site.products
                )
                for strength in tried
            }
            best = min(tried, key=lambda strength: error[strength])
            worth = site.norm or 0.0 not in error or error[best] <= WORTH * error[0.0]
            chosen[name] = best if worth else 0.0
        return chosen

    def _bits(self, choice: Choice) -> Choice:
        """The number of bits of weights with which the engine itself, not the probe, has the least error."""
        found = {}
        for bits in self.bits:
            found[bits] = self.meter.of_engine(msgspec.structs.replace(choice, weight_bits=bits))
        best = min(found, key=lambda bits: found[bits].relative)
        self.tell(", ".join(f"weights of {b} bits: error {m.relative:.4f}" for b, m in found.items()))
        table = choice.table | {f"engine, {bits} bits": measured.relative for bits, measured in found.items()}
        return msgspec.structs.replace(
            choice, weight_bits=best, table=table, cosine=found[best].cosine, relative=found[best].relative
        )

    def _proved(self, before: Choice, after: Choice) -> Choice:
        """A choice with its engine's error, which is known where nothing went back to float."""
        if after.on == before.on or not after.on:
            return after
        measured = self.meter.of_engine(after)
        self.tell(f"{len(after.on)} of {len(before.on)} products quantised: error {measured.relative:.4f}")
        table = after.table | {f"engine, {len(before.on) - len(after.on)} float": measured.relative}
        return msgspec.structs.replace(after, table=table, cosine=measured.cosine, relative=measured.relative)

    def _variant(self, smoothing: float) -> Variant:
        return Variant(dict.fromkeys(self.work.sites, smoothing))

    def _limits_of(self, way: Way) -> dict[str, float]:
        if way not in self._limits:
            self._limits[way] = self.meter.limits(self._variant(way[0]).strengths, way[1])
        return self._limits[way]


def _root(errors: Iterable[float]) -> float:
    """Errors that add up like noise."""
    return float(np.sqrt(np.square(list(errors)).sum()))


def _named(method: str, smoothing: float) -> str:
    return f"{method}, α {smoothing:g}" if smoothing else method
