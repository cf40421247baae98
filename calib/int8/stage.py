"""One stage on its way to eight bits: its graph, its products, and what was seen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import cache, cached_property, partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from onnx import ModelProto

from ...runtime.graph.model import load_model
from ...runtime.graph.observe import Observation, Observer, together
from ...runtime.graph.products import Product, products, split_gemms, without
from ...runtime.graph.qdq import FORMATS, quantise
from ...runtime.graph.smooth import Site, factors, sites, smoothed, value_sites
from ...runtime.recipe.int8 import Int8Settings
from ...runtime.reporting import Reporter, silent
from ...runtime.stage.contract import StageContract
from ...runtime.stage.precision import INT8
from .collect import Collected, Feeds
from .steps import Arrays, Steps


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The choice that a stage's quantised engine is made by."""

    smoothing: float
    """The strength of balancing that is best for the whole stage."""
    method: str
    """One method's name, or "search"."""
    limits: dict[str, float]
    """By value."""
    methods: dict[str, str]
    """By value."""
    on: tuple[str, ...]
    """The products that are quantised, in the graph's order."""
    errors: dict[str, float]
    """By product: relative error at the outputs with it, or its unit, alone quantised."""
    table: dict[str, float]
    """Relative error at the outputs by what was tried."""
    cosine: float
    relative: float
    weight_bits: int = 8
    strengths: dict[str, float] = {}
    """Of balancing, by the site's name."""


def spread(there: int, most: int) -> tuple[int, ...]:
    """Indices of so many of several things, evenly chosen; of all, if there are no more."""
    count = min(there, most)
    return tuple(index * there // count for index in range(count))


class Balanced(NamedTuple):
    """A graph after balancing, and what would have been seen in it."""

    model: ModelProto
    seen: Mapping[str, Observation]


class Work:
    """One stage that is to be quantised."""

    def __init__(
        self,
        contract: StageContract,
        path: Path,
        settings: Int8Settings,
        collected: Collected,
        steps: Steps,
        precision: str = INT8,
    ) -> None:
        """A stage.

        Args:
            contract: its inputs and outputs.
            path: its FP32 graph, verified.
            settings: which products stay float, and how many feeds the search measures on.
            collected: what it was fed.
            steps: keeps what was seen.
            precision: a key of `FORMATS`.

        Raises:
            RecipeError: the settings name blocks or products that are not there.
        """
        self.stage, self.contract, self.path, self.settings = contract.stage, contract, path, settings
        self.steps, self.precision, self.format = steps, precision, FORMATS[precision]
        self.readers = collected.of(contract)
        count = len(self.readers)
        apart = spread(count, min(settings.cases, max(1, count // 2)))
        self.cases = [self.readers[index] for index in apart]
        self._ranged = [index for index in range(count) if index not in apart] or list(apart)
        self.all = products(self.graph())
        self.products: list[Product] = without(
            self.all, settings.keep, settings.blocks.get(self.stage, ()), settings.nodes.get(self.stage, ())
        )

    def graph(self) -> ModelProto:
        """The FP32 graph anew, with products in one form."""
        return split_gemms(load_model(self.path))

    def observe(self, tell: Reporter) -> None:
        """Look at what enters the products, on all feeds that are not done yet."""
        if len(self.readers) == 1:
            tell("one feed alone: ranges, and the errors to choose by, are of the same", about=self.stage, lasting=True)
        for _ in self._observations(tell):
            pass

    @cached_property
    def sites(self) -> dict[str, Site]:
        """What can be balanced, by name."""
        model = self.graph()
        norms = sites(model, self.products)
        return {site.name: site for site in (*norms, *value_sites(model, self.products, norms))}

    def balanced(self, strengths: Mapping[str, float]) -> Balanced:
        """The graph with its activations balanced against its weights.

        Args:
            strengths: by the site's name; what is 0 or missing stays as it is.
        """
        model, seen = self.graph(), dict(self.seen())
        chosen = {self.sites[name]: strength for name, strength in strengths.items() if strength}
        by_site = {site: factors(site, model, seen[site.products[0].value].largest, strength)
                   for site, strength in chosen.items()}  # fmt: skip
        for site, s in by_site.items():
            for value in {product.value for product in site.products}:
                seen[value] = seen[value].divided(s)
        return Balanced(smoothed(model, by_site) if by_site else model, seen)

    def seen(self) -> dict[str, Observation]:
        """Observations by value, on all feeds but those that the search measures on, as long as there are others.

        What is measured on the feeds that ranges were taken from is flattered: no value of theirs is clipped.
        """
        parts: dict[str, list[Observation]] = {}
        for index, arrays in enumerate(self._observations(silent)):
            if index not in self._ranged:
                continue
            for value in {product.value for product in self.all}:
                rows, largest = arrays[f"rows/{value}"], arrays[f"largest/{value}"]
                parts.setdefault(value, []).append(Observation(largest, rows))
        return {value: together(observations) for value, observations in parts.items()}

    def quantised(self, choice: Choice) -> ModelProto:
        """The quantised graph of a choice."""
        chosen = [product for product in self.products if product.node in choice.on]
        read = {name for name, site in self.sites.items() if {product.node for product in site.products} & {*choice.on}}
        model = self.balanced({name: value for name, value in choice.strengths.items() if name in read}).model
        return quantise(model, chosen, choice.limits, self.format, weight_bits=choice.weight_bits)

    def _observations(self, tell: Reporter) -> Iterator[Arrays]:
        """What was seen on each feed, in files; what is not there is looked at now, by one observer."""
        with ExitStack() as stack:

            @cache
            def observer() -> Observer:
                watched = [product.value for product in self.all]
                return stack.enter_context(Observer(self.graph(), self.contract, watched))

            def look(index: int) -> Arrays:
                tell(f"observing {index + 1} of {len(self.readers)}")
                return _observation(observer(), self.readers[index])

            for index in range(len(self.readers)):
                yield self.steps.arrays(f"{self.stage}-observed-{index:04d}", partial(look, index))


def _observation(observer: Observer, read: Callable[[], Feeds]) -> dict[str, np.ndarray]:
    seen = observer.observe(read())
    rows = {f"rows/{value}": observation.rows for value, observation in seen.items()}
    return rows | {f"largest/{value}": observation.largest for value, observation in seen.items()}
