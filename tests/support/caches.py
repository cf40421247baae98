"""Every cache of the runtime and of calib, at its smallest: what is asked of it, and how often something was made."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ovdeploy.calib.int8.steps import Steps
from ovdeploy.calib.tune.replay import Recorded, Recorder
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.backends.openvino import compiled
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.backends.tensorrt.runtime_cache import RuntimeCache
from ovdeploy.runtime.bundle.plan_building import TIMINGS
from ovdeploy.runtime.evaluation.journal import Journal
from ovdeploy.runtime.evaluation.report import results
from ovdeploy.runtime.evaluation.run import evaluate
from ovdeploy.runtime.evaluation.summary import summarise
from ovdeploy.runtime.files import CACHE_VARIABLE
from ovdeploy.runtime.pipelines.text_embedder import TextEmbedder
from ovdeploy.runtime.stage.contract import StageContract, TensorSpec
from support.evaluating import NoiseDataset, NoisePredictor

SIDE = 24


class Answer(NamedTuple):
    """What came of asking."""

    content: bytes
    made: int
    """How many pieces were not taken from the cache."""


class Cache(NamedTuple):
    """A cache, in a folder that is given."""

    ask: Callable[[Path], Answer]
    pattern: str
    """Of the files that are read back."""

    def files(self, folder: Path) -> list[Path]:
        """Those that are there."""
        return sorted(folder.rglob(self.pattern))


def embeddings(folder: Path) -> Answer:
    """Three names, each embedded by two templates."""
    tokens = TensorSpec(name="tokens", dtype="int32", shape=("P", 2), layout="texts, tokens", range="any")
    features = TensorSpec(name="features", dtype="float32", shape=("P", "E"), layout="any", range="any")
    contract = StageContract(stage="text_encoder", inputs=(tokens,), outputs=(features,))
    calls = []

    def compute(feeds):
        calls.append(1)
        rows = feeds["tokens"].astype(np.float32)
        return {"features": np.stack([*rows.T, rows.sum(1), np.ones(len(rows))], 1).astype(np.float32)}

    def tokenizer(texts):
        return np.array([[len(text), sum(map(ord, text)) % 97] for text in texts], np.int32)

    tokenizer.cut = lambda text: 0  # as that of ClipTokenizer: nothing is too long
    embedder = TextEmbedder(lambda: FakeSession(contract, compute), lambda: tokenizer, "engine", folder)
    found = [embedder.embed(name, ("a {}.", "{}s")) for name in ("cup", "table", "spoon")]
    return Answer(np.stack(found).tobytes(), len(calls))


def graph_of_products(path: Path) -> Path:
    """A graph with two matrices of random weights."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((SIDE, SIDE)).astype(np.float32), name) for name in ("w1", "w2")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "first"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("MatMul", ["b", "w2"], ["y"], "second"),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", SIDE]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def models(folder: Path) -> Answer:
    """A graph that OpenVINO compiles, and what it gives."""
    graph = folder / "graph.onnx"
    if not graph.is_file():
        graph_of_products(graph)
    with cache_at(folder), counted(compiled, "_keep") as kept:
        x = np.random.default_rng(1).standard_normal((3, SIDE)).astype(np.float32)
        with open_session(graph, CONTRACT, "openvino", options=SessionOptions(identity="graph", threads=1)) as session:
            return Answer(session.run({"x": x})["y"].tobytes(), len(kept))


CONTRACT = StageContract(
    stage="products",
    inputs=(TensorSpec(name="x", dtype="float32", shape=("N", SIDE), layout="any", range="any"),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("N", SIDE), layout="any", range="any"),),
)


def kernels(folder: Path) -> Answer:
    """What TensorRT-RTX compiled for a plan; without it, it compiles again."""
    plan = folder / "a.fp16.plan"
    plan.write_bytes(b"plan")
    with cache_at(folder / "away"):
        cache = RuntimeCache(plan, "GPU")
        found = cache.read()
        cache.write(found or BLOB)
    return Answer(found or BLOB, not found)


BLOB = np.random.default_rng(2).bytes(3000)


def timings(folder: Path) -> Answer:
    """TensorRT's timings, as a build reads and writes them."""
    path = folder / "timing.cache"
    found = TIMINGS.read(path, path.name)
    TIMINGS.write(path, path.name, found or BLOB)
    return Answer(bytes(found or BLOB), not found)


def journals(folder: Path) -> Answer:
    """The figures of an evaluation of six photos, one of which failed at first."""
    predictor = NoisePredictor()
    dataset = NoiseDataset(6)
    with Journal(folder, {"test": 1}) as journal:
        list(evaluate(dataset, {"bundle": predictor}, journal))
        found = results(dataset, summarise(dataset, journal.entries_of(dataset.names)), {})
    found.pop("milliseconds")
    return Answer(json.dumps(found).encode(), predictor.calls)


def steps(folder: Path) -> Answer:
    """A calibration's steps: a value, and arrays of several types."""
    made = []

    def value():
        made.append(1)
        return {"a": 0.1, "b": 1e-30}

    def arrays():
        made.append(1)
        rng = np.random.default_rng(3)
        return {"x/y": rng.standard_normal((5, 7)).astype(np.float32), "n": np.arange(4), "0": np.float32(1.5)}

    kept = Steps(folder, {"photos": "x"})
    first, second = kept.once("value", dict[str, float], value), kept.arrays("arrays", arrays)
    told = b"".join(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes() for name, array in second.items())
    return Answer(json.dumps(first).encode() + told, len(made))


class Encoder(Recorder):
    """A recorder whose engines are a fixed function of the photo."""

    def _encode(self, sample, vocabulary):
        logits = sample.photo[None, :, :, 0].astype(np.float32) / 7
        return Recorded(sample.labels, sample.given, {"logits": logits, "sam_features": logits[None, :, :4, :4]})


def records(folder: Path) -> Answer:
    """What `tune` keeps of two photos."""
    from ovdeploy.runtime.evaluation.predictors import Words

    dataset = NoiseDataset(2)
    words = Words(dataset, lambda entries: np.eye(len(entries), dtype=np.float32))
    recorder = Encoder(None, dataset, words, folder, {"bundle": "x"})
    parts = []
    for name in dataset.names:
        recorder.record(name)
        labels, given, made, _ = recorder.recorded(name)
        arrays = (labels, *made.values())
        parts.append(b"".join(array.tobytes() for array in arrays) + repr(given).encode())
    return Answer(b"".join(parts), recorder.encoded)


CACHES = {
    "embeddings": Cache(embeddings, "*.embedding"),
    "OpenVINO's models": Cache(models, "openvino/*"),
    "kernels": Cache(kernels, "*.kernels"),
    "timings": Cache(timings, "timing.cache"),
    "journal": Cache(journals, "journal.jsonl"),
    "calibrate": Cache(steps, "*/*"),
    "tune": Cache(records, "*.record"),
}
"""By name."""


@contextlib.contextmanager
def cache_at(folder: Path) -> Iterator[None]:
    """The user's cache is this folder."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


@contextlib.contextmanager
def counted(module: object, name: str) -> Iterator[list[int]]:
    """Calls of a function of a module."""
    calls: list[int] = []
    function = getattr(module, name)

    def counting(*args: object) -> object:
        calls.append(1)
        return function(*args)

    setattr(module, name, counting)
    try:
        yield calls
    finally:
        setattr(module, name, function)
