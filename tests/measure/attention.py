"""Ways to compute SAM's global attention with its decomposed positions, by OpenVINO: CPU time of each, and its answer.

    python tests/measure/attention.py [--threads 1] [--runs 5]

One attention of SAM ViT-B: 12 heads of 64 on 64 × 64 tokens. CPU time is that of the process, so that a busy machine
matters little with one thread; the ways take turns. `peak` is the time that the same operations take as a product of
4096 × 768 × 3072. Every way with positions must give what the engines' own way gives.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as op

HEADS, GRID, DEPTH = 12, 64, 64
TOKENS = GRID * GRID
SHAPE = (4096, 768, 3072)
"""Of the product that is the machine's peak: rows, depth, columns."""

Build = tuple[Any, list[np.ndarray]]
"""A model and its inputs."""


class Inputs:
    """Seeded random queries (scaled), keys, values, and what positions add for a row and for a column of keys."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.queries, self.keys, self.values = (self._normal(rng, DEPTH) for _ in range(3))
        self.queries *= DEPTH**-0.5
        self.rows, self.columns = self._normal(rng, GRID) * 0.3, self._normal(rng, GRID) * 0.3

    @staticmethod
    def _normal(rng: np.random.Generator, depth: int) -> np.ndarray:
        return rng.standard_normal((HEADS, TOKENS, depth)).astype(np.float32)


def chunked(arrays: list[np.ndarray], chunk: int, scores: Callable[..., Any]) -> Build:
    """Attention of queries in chunks; `scores` makes a chunk's from parameters and the chunk's first query."""
    given = [op.parameter(list(array.shape), np.float32) for array in arrays]
    parts = []
    for first in range(0, TOKENS, chunk):
        weights = op.softmax(scores(given, first, chunk), 2)
        parts.append(op.matmul(weights, given[2], False, False))
    return openvino.Model([op.concat(parts, 1)], given), arrays


def part(node: Any, first: int, count: int) -> Any:
    """Some queries of [heads, N, …]."""
    ends = (np.array([value], np.int64) for value in (first, first + count, 1, 1))
    return op.slice(node, *(op.constant(end) for end in ends))


def product(given: list[Any], first: int, count: int) -> Any:
    """Scores without positions."""
    return op.matmul(part(given[0], first, count), given[1], False, True)


def summed_first(given: list[Any], first: int, count: int) -> Any:
    """As the engines do: positions of a chunk are summed, then added."""
    rows, columns = (op.unsqueeze(part(given[3 + axis], first, count), shape(3 - axis)) for axis in (0, 1))
    return op.add(product(given, first, count), op.reshape(op.add(rows, columns), shape(HEADS, count, TOKENS), False))


def one_by_one(given: list[Any], first: int, count: int) -> Any:
    """Rows, then columns, added to scores that are viewed as [heads, n, rows, columns]."""
    seen = op.reshape(product(given, first, count), shape(HEADS, count, GRID, GRID), False)
    rows, columns = (op.unsqueeze(part(given[3 + axis], first, count), shape(3 - axis)) for axis in (0, 1))
    return op.reshape(op.add(op.add(seen, rows), columns), shape(HEADS, count, TOKENS), False)


def columns_folded(given: list[Any], first: int, count: int) -> Any:
    """Columns in longer heads, rows added."""
    seen = op.reshape(product(given, first, count), shape(HEADS, count, GRID, GRID), False)
    rows = op.unsqueeze(part(given[3], first, count), shape(3))
    return op.reshape(op.add(seen, rows), shape(HEADS, count, TOKENS), False)


def shape(*sizes: int) -> Any:
    return op.constant(np.array(sizes, np.int64))


def folded(inputs: Inputs, rows: bool) -> list[np.ndarray]:
    """Queries with their positions behind them, keys with a one where a position stands, and the values."""
    eye = np.eye(GRID, dtype=np.float32)
    ones = [np.tile(eye, (GRID, 1)), np.repeat(eye, GRID, axis=0)][: 1 + rows]
    keys = [np.broadcast_to(one, (HEADS, TOKENS, GRID)) for one in ones]
    queries = [inputs.columns, inputs.rows][: 1 + rows]
    return [np.concatenate([inputs.queries, *queries], 2), np.concatenate([inputs.keys, *keys], 2), inputs.values]


def ways(inputs: Inputs) -> dict[str, Build]:
    """What is tried, by name; the engines' own way first."""
    plain = [inputs.queries, inputs.keys, inputs.values]
    placed = [*plain, inputs.rows, inputs.columns]
    return {
        "as the engines do, chunks of 512": chunked(placed, 512, summed_first),
        "chunks of 256": chunked(placed, 256, summed_first),
        "chunks of 128": chunked(placed, 128, summed_first),
        "rows and columns added one by one": chunked(placed, 512, one_by_one),
        "columns folded into heads of 128": chunked([*folded(inputs, False), inputs.rows], 512, columns_folded),
        "positions folded into heads of 192": chunked(folded(inputs, True), 512, product),
        "without positions (another answer)": chunked(plain, 512, product),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False,
        "INFERENCE_NUM_THREADS": given.threads,
    }  # fmt: skip
    requests: dict[str, tuple[Any, list[np.ndarray]]] = {}
    for name, (model, arrays) in {**ways(Inputs()), "peak": peak()}.items():
        requests[name] = core.compile_model(model, "CPU", settings).create_infer_request(), arrays
    times: dict[str, list[float]] = {name: [] for name in requests}
    for turn in range(given.runs + 1):
        for name, (request, arrays) in requests.items():
            start = time.process_time()
            request.infer(arrays)
            if turn:  # what comes once is not counted
                times[name].append(time.process_time() - start)
    show(requests, times)


def peak() -> Build:
    """The product that is the machine's peak."""
    rows, depth, columns = SHAPE
    rng = np.random.default_rng(0)
    left = op.parameter([rows, depth], np.float32)
    right = op.constant(rng.standard_normal((depth, columns)).astype(np.float32))
    array = rng.standard_normal((rows, depth)).astype(np.float32)
    return openvino.Model([op.matmul(left, right, False, False)], [left]), [array]


def show(requests: dict[str, tuple[Any, list[np.ndarray]]], times: dict[str, list[float]]) -> None:
    """The table, in Markdown: the share counts the products of attention alone, whatever else was multiplied."""
    useful = 4 * HEADS * TOKENS**2 * DEPTH
    rate = 2 * np.prod([float(size) for size in SHAPE]) / statistics.median(times.pop("peak"))
    first = next(iter(times))
    expected = requests[first][0].get_output_tensor(0).data
    print("| way | ms | share of the peak | largest difference |\n| --- | --- | --- | --- |")
    for name, own in times.items():
        seconds = statistics.median(own)
        apart = np.abs(requests[name][0].get_output_tensor(0).data - expected).max()
        print(f"| {name} | {seconds * 1e3:.0f} | {useful / seconds / rate:.2f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
