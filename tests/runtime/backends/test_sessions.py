"""Contracts, the session that every backend shares, the fake one, and the choice of a backend."""

import doctest
import importlib.util
import sys

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import BundleError, EngineError, MissingExtraError, ParameterError, Segmenter
from ovdeploy.runtime.backends import fake
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.backends.registry import BACKENDS, available_backends, choose_backend, open_session
from ovdeploy.runtime.bundle.bundle import Bundle
from ovdeploy.runtime.stage.contract import StageContract, TensorSpec


def spec(name, shape, dtype="float32"):
    return TensorSpec(name=name, dtype=dtype, shape=shape, layout="any", range="any")


on_cpu = pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])

CONTRACT = StageContract(
    stage="head",
    inputs=(spec("image", ("B", 3, "N")), spec("means", ("B",)), spec("ids", ("N", "N"), "int32"), spec("f", ())),
    outputs=(spec("sum", ("B",)), spec("labels", ("B",), "int32")),
)


def feeds(**changes):
    """Feeds that fit, with some replaced, and those that are None left out."""
    fitting = {
        "image": np.ones((2, 3, 4), np.float32),
        "means": np.ones(2, np.float32),
        "ids": np.ones((4, 4), np.int32),
        "f": np.array(1, np.float32),
    }
    return {name: array for name, array in {**fitting, **changes}.items() if array is not None}


def outputs(value=1.0):
    return {"sum": np.array([1, value], np.float32), "labels": np.array([1, 2], np.int32)}


@pytest.mark.parametrize("b", [1, 2, 7])
@pytest.mark.parametrize("n", [1, 5])
def test_feeds_of_any_consistent_sizes_fit(b, n):
    CONTRACT.check_feeds(
        feeds(image=np.ones((b, 3, n), np.float32), means=np.ones(b, np.float32), ids=np.ones((n, n), np.int32))
    )


def test_a_view_that_is_not_contiguous_fits():
    CONTRACT.check_feeds(feeds(image=np.ones((4, 3, 2), np.float32).T))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"image": None}, ["takes", "'image'", "got"]),
        ({"image": None, "means": None, "ids": None, "f": None}, ["takes", "got []"]),
        ({"extra": np.ones(1, np.float32)}, ["takes", "'extra'"]),
        ({"image": None, "Image": np.ones((2, 3, 4), np.float32)}, ["'Image'", "'image'"]),
        ({"image": np.ones((2, 3, 4))}, ["image", "float32", "got float64"]),
        ({"image": np.ones((2, 3, 4), np.float16)}, ["image", "float32", "got float16"]),
        ({"image": np.ones((2, 3, 4), ">f4")}, ["image", "float32"]),
        ({"ids": np.ones((4, 4), np.int64)}, ["ids", "int32", "got int64"]),
        ({"f": np.ones((1,), np.float32)}, ["f", "shape []", "got [1]"]),
        ({"image": np.ones((3, 4), np.float32)}, ["image", "got [3, 4]"]),
        ({"image": np.ones((1, 2, 3, 4), np.float32)}, ["image", "got [1, 2, 3, 4]"]),
        ({"image": np.ones((2, 4, 4), np.float32)}, ["image", "['B', 3, 'N']", "got [2, 4, 4]"]),
        ({"means": np.ones(3, np.float32)}, ["means", "['B']", "'B': 2", "got [3]"]),
        ({"ids": np.ones((4, 5), np.int32)}, ["ids", "'N': 4", "got [4, 5]"]),
        ({"image": np.ones((0, 3, 4), np.float32), "means": np.ones(0, np.float32)}, ["image", "got [0, 3, 4]"]),
        ({"image": np.ones((2, 3, 0), np.float32), "ids": np.ones((0, 0), np.int32)}, ["image", "got [2, 3, 0]"]),
        ({"image": [[1.0]]}, ["image", "list"]),
        ({"f": 1.0}, ["f", "float"]),
    ],
)
def test_feeds_that_do_not_fit_are_refused_with_what_fits(changes, told):
    session = FakeSession(CONTRACT, lambda _: outputs())
    with pytest.raises(EngineError) as caught:
        session.run(feeds(**changes))
    assert [words for words in ["head", *told] if words not in str(caught.value)] == [], str(caught.value)
    assert session.calls == [], "the engine must not see them"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_an_error_that_names_stage_and_output(value):
    with pytest.raises(EngineError) as caught:
        FakeSession(CONTRACT, lambda _: outputs(value)).run(feeds())
    for words in ("head", "1 values of sum (of 2)", "NaN"):
        assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_outputs_of_every_float_type_are_checked(dtype):
    contract = msgspec.structs.replace(CONTRACT, outputs=(spec("labels", ("B",), np.dtype(dtype).name),))
    with pytest.raises(EngineError, match=r"labels.*NaN"):
        FakeSession(contract, lambda _: {"labels": np.array([1, np.nan], dtype)}).run(feeds())


def test_an_output_that_is_missing_is_an_error_that_names_stage_and_output():
    with pytest.raises(EngineError, match=r"head.*labels"):
        FakeSession(CONTRACT, lambda _: {"sum": np.ones(2, np.float32)}).run(feeds())


@pytest.mark.parametrize(
    "error", [ValueError("too hot"), RuntimeError("too hot"), KeyError("too hot"), MemoryError("too hot")]
)
def test_what_an_engine_raises_is_chained_to_an_error_that_names_the_stage(error):
    def fail(_):
        raise error

    with pytest.raises(EngineError, match=r"head engine failed.*too hot") as caught:
        FakeSession(CONTRACT, fail).run(feeds())
    assert caught.value.__cause__ is error


def test_an_interruption_is_not_taken_for_an_engines_failure():
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FakeSession(CONTRACT, interrupt).run(feeds())


def test_a_fake_session_records_what_it_was_fed_and_returns_what_its_function_does():
    session = FakeSession(CONTRACT, lambda given: {**outputs(), "sum": given["image"].sum(axis=(1, 2))})
    assert session.calls == []
    first, second = feeds(), feeds(f=np.array(9, np.float32))
    assert session.run(first)["sum"].tolist() == [12, 12]
    session.run(second)
    assert [call["f"].item() for call in session.calls] == [1, 9]
    assert session.calls[0]["image"] is first["image"]
    with session as opened:
        assert opened is session
    session.close()


def test_the_example_of_the_fake_session_runs():
    results = doctest.testmod(fake, extraglobs={"np": np})
    assert results.attempted >= 4 and not results.failed


def without_backends(monkeypatch):
    found = importlib.util.find_spec
    packages = {backend.package for backend in BACKENDS.values()}
    registry = sys.modules[choose_backend.__module__]
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name in packages else found(name))


def test_auto_chooses_the_first_that_is_installed():
    assert choose_backend("auto") == available_backends()[0]


@pytest.mark.parametrize("name", list(BACKENDS))
def test_a_backend_is_chosen_by_its_name_if_it_is_installed(name, monkeypatch):
    if name in available_backends():
        assert choose_backend(name) == name
    without_backends(monkeypatch)
    with pytest.raises(MissingExtraError) as caught:
        choose_backend(name)
    assert f"ovdeploy[{BACKENDS[name].extra}]" in str(caught.value) and BACKENDS[name].package in str(caught.value)


def test_auto_without_any_backend_tells_what_to_install(monkeypatch, micro_bundle):
    without_backends(monkeypatch)
    assert available_backends() == []
    with pytest.raises(MissingExtraError, match=r"pip install 'ovdeploy\[cpu\]'"):
        Segmenter.load(micro_bundle)


@pytest.mark.parametrize("name", ["", "onnx", "Auto", "torch"])
def test_an_unknown_backend_is_answered_with_the_valid_ones(name, micro_bundle):
    with pytest.raises(BundleError) as caught:
        Segmenter.load(micro_bundle, backend=name)
    for words in (f"unknown backend {name!r}", "auto", *BACKENDS):
        assert words in str(caught.value)


@on_cpu
@pytest.mark.parametrize("data", [b"", b"garbage", bytes(1000)], ids=["empty", "garbage", "zeros"])
def test_an_engine_that_is_no_graph_is_refused_by_name(micro_bundle, tmp_path, data, backend):
    path = tmp_path / "head.fp32.onnx"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"cannot load .*head\.fp32\.onnx"):
        open_session(path, Bundle.load(micro_bundle).stage("head").contract, backend)


@on_cpu
def test_an_engine_of_another_stage_is_refused_with_both_signatures(micro_bundle, backend):
    bundle = Bundle.load(micro_bundle)
    with pytest.raises(BundleError, match=r"takes \['windows'\], its contract says .*'affinity'"):
        open_session(bundle.engine_path("dino", "fp32"), bundle.stage("head").contract, backend)


@on_cpu
@pytest.mark.parametrize("field", ["inputs", "outputs"])
def test_an_engine_whose_contract_has_another_name_is_refused_on_load(micro_bundle, field, backend):
    bundle = Bundle.load(micro_bundle)
    contract = bundle.stage("dino").contract
    renamed = tuple(msgspec.structs.replace(tensor, name=f"{tensor.name}_2") for tensor in getattr(contract, field))
    with pytest.raises(BundleError, match="contract"):
        open_session(bundle.engine_path("dino", "fp32"), msgspec.structs.replace(contract, **{field: renamed}), backend)


@on_cpu
def test_a_closed_session_says_that_it_is_closed(micro_bundle, backend):
    bundle = Bundle.load(micro_bundle)
    contract = bundle.stage("dino").contract
    side = contract.inputs[0].shape[-1]
    windows = {"windows": np.zeros((1, 3, side, side), np.float32)}
    with open_session(bundle.engine_path("dino", "fp32"), contract, backend, threads=1) as session:
        assert set(session.run(windows)) == set(contract.output_names)
    session.close()
    with pytest.raises(EngineError, match="closed"):
        session.run(windows)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_one_or_more(micro_bundle, threads):
    with pytest.raises(ParameterError, match="threads"):
        Segmenter.load(micro_bundle, threads=threads)


def test_an_error_says_its_stage_once_whatever_its_words(monkeypatch):
    """Who raised it is a field of the error: the name of a stage may be part of any word."""

    def fail(words, stage=""):
        def execute(_):
            raise EngineError(words, stage)

        return execute

    with FakeSession(CONTRACT, lambda _: outputs()) as session:
        session._execute = fail("no memory for the overhead")
        with pytest.raises(EngineError, match=r"^the head engine failed: no memory for the overhead$") as caught:
            session.run(feeds())
        assert caught.value.stage == "head"
        session._execute = fail("head: no memory", "head")
        with pytest.raises(EngineError, match=r"^head: no memory$"):
            session.run(feeds())
        with pytest.raises(EngineError, match="head takes") as caught:
            session.run({})
        assert caught.value.stage == "head"
