"""Inputs of a graph's products, as seen: each channel's largest magnitude, and rows of values at random places.

SmoothQuant balances channels, and ranges are fitted to distributions, so whole rows are taken: regular steps along the
channels, as `taps` take them, would miss the few channels in which a transformer has its outliers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from ..backends.base import Session
from ..stage.contract import StageContract
from .emulate import model_session
from .shapes import ValueType, value_types
from .taps import Added, tap_contract, with_outputs

SAMPLE = 32_768
"""Elements of a value that one run keeps, if it has as many; at least `LEAST_ROWS` rows."""

LEAST_ROWS = 16

LARGEST, ROWS = "observed_largest_", "observed_rows_"


class Observation(NamedTuple):
    """A value's largest magnitudes, and a sample of its rows."""

    largest: np.ndarray
    """[C] float32: the largest magnitude in every channel, the last axis."""
    rows: np.ndarray
    """[N, C] float32: values of all channels at N places."""

    def divided(self, factors: np.ndarray) -> Observation:
        """The observation with every channel divided by its factor, [C]."""
        return Observation(self.largest / factors, self.rows / factors)


def together(observations: Sequence[Observation]) -> Observation:
    """Several runs' observations of one value as one."""
    largest = np.max([seen.largest for seen in observations], axis=0)
    return Observation(largest, np.concatenate([seen.rows for seen in observations]))


class Observer:
    """Watches values of an FP32 graph. One session for feeds of one shape after another; a context manager."""

    def __init__(self, model: ModelProto, contract: StageContract, values: Iterable[str]) -> None:
        """An observer.

        Args:
            model: the graph.
            contract: its inputs and outputs.
            values: names of float values of one axis or more.
        """
        self._model, self._contract, self._values = model, contract, list(dict.fromkeys(values))
        self._session: Session | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}

    def observe(self, feeds: Mapping[str, np.ndarray]) -> dict[str, Observation]:
        """Run the graph once and look at the values."""
        shapes = {name: array.shape for name, array in feeds.items()}
        if self._session is None or shapes != self._shapes:
            self.close()
            self._session, self._shapes = self._open(shapes), shapes
        came = self._session.run_unchecked(feeds)
        return {name: Observation(came[LARGEST + name], came[ROWS + name]) for name in self._values}

    def _open(self, shapes: Mapping[str, tuple[int, ...]]) -> Session:
        types = value_types(self._model, shapes)
        ranks = {prefix + name: rank for name in self._values for prefix, rank in ((LARGEST, 1), (ROWS, 2))}
        tapped = with_outputs(self._model, {name: _nodes(name, types[name]) for name in self._values}, list(ranks))
        return model_session(tapped, tap_contract(self._contract, ranks), in_order=True)

    def close(self) -> None:
        """Free the session."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _nodes(name: str, kind: ValueType) -> Added:
    assert kind.shape is not None and kind.size >= 0, "shapes are fixed by the feeds"
    channels = int(kind.shape[-1])  # type: ignore[arg-type]
    places = kind.size // channels
    count = min(places, max(LEAST_ROWS, SAMPLE // channels))
    rng = np.random.default_rng(zlib.crc32(name.encode()))  # the same places in every run
    chosen = np.sort(rng.choice(places, count, replace=False))
    made = {
        "flat": np.array([-1, channels], np.int64),
        "axes": np.array([0], np.int64),
        "places": chosen.astype(np.int64),
    }
    constants = {what: numpy_helper.from_array(array, f"{ROWS}{what}_{name}") for what, array in made.items()}
    rows, magnitudes = f"{ROWS}all_{name}", f"{LARGEST}of_{name}"
    nodes = [
        helper.make_node("Reshape", [name, constants["flat"].name], [rows], name=rows),
        helper.make_node("Abs", [rows], [magnitudes], name=magnitudes),
        helper.make_node(
            "ReduceMax", [magnitudes, constants["axes"].name], [LARGEST + name], name=LARGEST + name, keepdims=0
        ),
        helper.make_node("Gather", [rows, constants["places"].name], [ROWS + name], name=ROWS + name, axis=0),
    ]
    return nodes, list(constants.values())
