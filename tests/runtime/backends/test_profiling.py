"""Backends' own profilers: what they measure is what runs."""

from __future__ import annotations

import pytest

from ovdeploy.runtime import Bundle, ParameterError
from ovdeploy.runtime.backends import registry
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import BACKENDS, PROFILING, open_session, profile_graph


def test_onnxruntime_profiles_a_graph_as_it_is_opened_to_run(micro_bundle, monkeypatch):
    ort = pytest.importorskip("onnxruntime")
    opened, real = [], ort.InferenceSession

    def recorded(*arguments, **named):
        opened.append({"path": arguments[0], **named})
        return real(*arguments, **named)

    monkeypatch.setattr(ort, "InferenceSession", recorded)
    bundle, options = Bundle.load(micro_bundle), SessionOptions(precision="int8")
    path, contract = bundle.engine_path("head", "fp32"), bundle.stage("head").contract
    sizes = {axis: bundle.ranges()[axis][1] for axis in contract.dynamic_axes}
    open_session(path, contract, "onnxruntime", options=options).close()
    measured = profile_graph(path, contract, "onnxruntime", sizes, options, 1)
    assert measured.precision == "int8"
    run, *profiled = opened
    assert run["disabled_optimizers"], "what INT8 needs; else the test compares nothing"
    assert profiled and all(each == run for each in profiled)


def test_a_backend_that_cannot_tell_operations_apart_says_who_can(micro_bundle):
    assert "tensorrt" not in PROFILING
    with pytest.raises(ParameterError, match=r"unknown backend that measures.*'tensorrt'.*openvino"):
        profile_graph(micro_bundle, None, "tensorrt", {}, SessionOptions(), 1)


@pytest.mark.parametrize("name", PROFILING)
def test_every_profiler_that_is_named_is_there(name):
    backend = BACKENDS[name]
    pytest.importorskip(backend.package)
    module = registry._module(f"{backend.module.rpartition('.')[0]}.profiling")
    assert callable(getattr(module, backend.profiler))
