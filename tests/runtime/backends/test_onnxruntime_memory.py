"""Memory that ONNX Runtime gives back; how much is measured by `ovdeploy bench`."""

import ctypes

import numpy as np
import pytest

from ovdeploy.runtime.backends import heap
from ovdeploy.runtime.backends.onnxruntime import session
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.bundle.bundle import Bundle
from ovdeploy.runtime.bundle.opening import open_stage


def answers(bundle, arena):
    """Two runs of a stage: the second on memory that the first gave back."""
    with open_stage(bundle, "dino", "fp32", "onnxruntime", SessionOptions(arena=arena)) as opened:
        feeds = {
            spec.name: np.linspace(0, 1, np.prod(shape), dtype=np.float32).reshape(shape)
            for spec in opened.contract.inputs
            for shape in [spec.sized({dim: 1 for dim in spec.shape if isinstance(dim, str)})]
        }
        return [opened.run(feeds) for _ in range(2)]


@pytest.mark.parametrize("arena", [True, False])
@pytest.mark.parametrize("large", [1, 1 << 40])
def test_giving_memory_back_changes_no_answer(micro_bundle, monkeypatch, arena, large):
    bundle = Bundle.load(micro_bundle)
    usual = answers(bundle, True)
    monkeypatch.setattr(session, "LARGE", large)
    for one in answers(bundle, arena):
        for name, array in usual[0].items():
            np.testing.assert_array_equal(one[name], array)


@pytest.mark.parametrize(("large", "arena", "shrinks"), [(1, True, True), (1, False, False), (1 << 40, True, False)])
def test_only_large_engines_with_an_arena_shrink(monkeypatch, large, arena, shrinks):
    monkeypatch.setattr(session, "LARGE", large)
    entries = []

    class Options:
        def add_run_config_entry(self, *entry):
            entries.append(entry)

    session.run_options(type("module", (), {"RunOptions": Options}), 1000, arena)
    assert entries == ([("memory.enable_memory_arena_shrinkage", "cpu:0")] if shrinks else [])


def test_a_c_library_that_cannot_give_memory_back_is_left_alone(monkeypatch):
    heap._trim.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.give_back()
    heap._trim.cache_clear()
