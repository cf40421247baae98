"""Arrays on a device, and ONNX Runtime's I/O binding over them.

The device here is ONNX Runtime's CPU provider with arrays kept as `DeviceArray`s: the very lines that chain stages on
CUDA run, only the memory is the host's.
"""

from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import Bundle, EngineError, Segmenter
from ovdeploy.runtime.backends.fake import FakeSession
from ovdeploy.runtime.backends.onnxruntime.providers import CUDA, TENSORRT, Provider, check_assignment, check_providers
from ovdeploy.runtime.backends.onnxruntime.session import OnnxRuntimeSession, OrtBlock
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.errors import ParameterError
from ovdeploy.runtime.pipelines.training_free.segmenter import TrainingFreeSegmenter
from ovdeploy.runtime.stage.arrays import Block, DeviceArray, to_host
from ovdeploy.runtime.stage.contract import Axis, StageContract, TensorSpec

RESIDENT = Provider("CPUExecutionProvider", "cpu", resident=True)
on_cpu = pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
EVERYTHING = {"iou_threshold": -10.0, "min_area": 1, "region_threshold": 0.0}


class HostBlock(Block):
    """Memory that can be looked at."""

    def __init__(self, array, device="cpu:0"):
        self.array = np.ascontiguousarray(array)
        super().__init__(device, self.array.ctypes.data)

    def read(self, offset, size):
        return self.array.reshape(-1).view(np.uint8)[offset : offset + size].copy()


def device_array(array, device="cpu:0", origin="dino"):
    block = HostBlock(array, device)
    return DeviceArray(block, block.array.shape, block.array.dtype, origin)


def resident_sessions(bundle):
    opened = Bundle.load(bundle)
    stages = [stage for stage in opened.recipe.stages if stage != "text_encoder"]
    return opened, {
        stage: OnnxRuntimeSession(
            opened.engine_path(stage, "fp32"), opened.stage(stage).contract, SessionOptions(), RESIDENT
        )
        for stage in stages
    }


@pytest.fixture(scope="module")
def resident(micro_bundle):
    opened, sessions = resident_sessions(micro_bundle)
    with TrainingFreeSegmenter(opened.manifest, sessions) as segmenter:
        yield segmenter


@pytest.mark.parametrize("shape", [(1,), (4, 3), (3, 2, 5), (0, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_, np.float16])
def test_a_device_array_reads_back_what_is_there(shape, dtype):
    expected = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    array = device_array(expected)
    assert array.shape == shape and array.dtype == dtype and len(array) == shape[0] and array.nbytes == expected.nbytes
    np.testing.assert_array_equal(array.numpy(), expected)
    np.testing.assert_array_equal(to_host(array), expected)


@pytest.mark.parametrize("part", [slice(0, 2), slice(1, 3), slice(2, 9), slice(None), slice(3, 3), slice(-1, None)])
def test_rows_and_reshapes_are_views_of_the_same_memory(part):
    expected = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    array = device_array(expected)
    np.testing.assert_array_equal(array[part].numpy(), expected[part])
    np.testing.assert_array_equal(array.reshape(2, 12)[1:].numpy(), expected.reshape(2, 12)[1:])
    np.testing.assert_array_equal(array[1:][part].numpy(), expected[1:][part])
    assert array[2:].pointer == array.pointer + 2 * 6 * 4


@pytest.mark.parametrize("view", [lambda array: array[::2], lambda array: array[::-1], lambda array: array.reshape(5)])
def test_what_is_no_view_of_the_memory_is_refused(view):
    with pytest.raises(EngineError, match=r"one after another|cannot become \[5\]"):
        view(device_array(np.zeros((4, 3), np.float32)))


def test_an_array_whose_memory_was_given_out_again_is_refused_and_named():
    array = device_array(np.ones(3, np.float32), origin="sam_encoder")
    part = array[1:]
    array.block.generation += 1
    for stale in (array, part, part.reshape(2)):
        with pytest.raises(EngineError, match="sam_encoder engine made has been overwritten"):
            stale.numpy()
    fresh = DeviceArray(array.block, (3,), np.dtype(np.float32), "sam_encoder")
    assert fresh.numpy().tolist() == [1, 1, 1]


def test_stages_chained_on_the_device_give_the_same_mask_to_the_byte(resident, ort_segmenter, vocabulary, photo):
    expected = ort_segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    assert any(region.refined for region in expected.regions)
    for batch in (1, 2, 8):  # with 1 and 2 every batch writes into rows of one array
        result = resident.segment(photo, vocabulary, parameters={**EVERYTHING, "window_batch": batch})
        assert result.mask.tobytes() == expected.mask.tobytes()
        # sums over a batch may be split differently, so that probabilities differ in the last place
        np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)


def test_nothing_larger_than_the_logits_is_read_back_between_stages(resident, vocabulary, photo, monkeypatch):
    def refuse(self, offset, size):
        raise AssertionError("a device array came to the host")

    monkeypatch.setattr(OrtBlock, "read", refuse)
    resident.warmup()
    assert resident.segment(photo, vocabulary, parameters=EVERYTHING).regions


@on_cpu
def test_device_arrays_of_another_device_are_brought_over_the_host(micro_bundle, backend):
    bundle = Bundle.load(micro_bundle)
    contract = bundle.stage("dino").contract
    windows = np.random.default_rng(0).random((2, *contract.inputs[0].shape[1:])).astype(np.float32)
    with open_session(bundle.engine_path("dino", "fp32"), contract, backend) as session:
        expected = session.run({"windows": windows})
        came = session.run({"windows": device_array(windows, "cuda:0")})
    assert {name: array.tobytes() for name, array in came.items()} == {n: a.tobytes() for n, a in expected.items()}


@on_cpu
def test_outputs_are_written_into_rows_and_into_strided_arrays(micro_bundle, backend):
    bundle = Bundle.load(micro_bundle)
    contract = bundle.stage("dino").contract
    windows = np.random.default_rng(0).random((2, *contract.inputs[0].shape[1:])).astype(np.float32)
    with open_session(bundle.engine_path("dino", "fp32"), contract, backend) as session:
        expected = session.run({"windows": windows})
        room = session.empty("features", B=4)
        came = session.run({"windows": windows}, {"features": room[1:3]})
        strided = np.empty((2, *room.shape[1:][::-1]), np.float32).transpose(0, 3, 2, 1)
        session.run({"windows": windows}, {"features": strided})
    assert set(came) == {"mean_similarity"}
    np.testing.assert_array_equal(room[1:3], expected["features"])
    np.testing.assert_array_equal(strided, expected["features"])


def spec(name, shape=("B", 2), dtype="float32"):
    return TensorSpec(name=name, dtype=dtype, shape=shape, layout="any", range="any")


CONTRACT = StageContract(stage="head", inputs=(spec("x"),), outputs=(spec("y"), spec("z", ("B",))))


def test_nothing_is_fed_only_where_an_axis_may_be_empty():
    none = {"x": np.zeros((0, 2), np.float32)}
    with pytest.raises(EngineError, match=r"x must have shape \['B', 2\]"):
        CONTRACT.check_feeds(none)
    empty = CONTRACT.with_axes({"B": Axis(smallest=0, usual=1, largest=3, example=2)})
    assert empty.check_feeds(none) == {"B": 0}


@pytest.mark.parametrize(
    ("into", "told"),
    [
        ({"w": np.ones((3, 2), np.float32)}, "not w"),
        ({"y": np.ones((2, 2), np.float32)}, r"y must have shape \['B', 2\] with {'B': 3}, got \[2, 2\]"),
        ({"y": np.ones((3, 2))}, "y must be float32, got float64"),
        ({"y": [1.0]}, "list"),
    ],
)
def test_room_that_does_not_fit_is_refused(into, told):
    session = FakeSession(CONTRACT, lambda feeds: {"y": feeds["x"], "z": feeds["x"][:, 0]})
    with pytest.raises(EngineError, match=told):
        session.run({"x": np.ones((3, 2), np.float32)}, into)
    assert session.calls == []


def test_an_output_that_was_to_be_written_and_is_missing_is_told():
    session = FakeSession(CONTRACT, lambda feeds: {"z": feeds["x"][:, 0]})
    with pytest.raises(EngineError, match="head engine did not return y"):
        session.run({"x": np.ones((3, 2), np.float32)}, {"y": session.empty("y", B=3)})


def test_nan_written_into_room_on_the_host_is_an_error():
    session = FakeSession(CONTRACT, lambda feeds: {"y": feeds["x"] * np.nan, "z": feeds["x"][:, 0]})
    with pytest.raises(EngineError, match="6 values of y"):
        session.run({"x": np.ones((3, 2), np.float32)}, {"y": session.empty("y", B=3)})


def test_nan_that_an_earlier_stage_left_on_the_device_names_that_stage():
    session = FakeSession(CONTRACT, lambda feeds: {"y": feeds["x"], "z": feeds["x"][:, 0]})
    session.device = "cpu:0"
    session._execute = lambda feeds: {"y": feeds["x"], "z": feeds["x"][:, 0]}
    bad = device_array(np.full((3, 2), np.nan, np.float32), origin="clip_image")
    with pytest.raises(EngineError, match="clip_image engine returned NaN or infinity, found in x of head"):
        session.run({"x": bad})


def test_nan_left_by_the_affinitys_engine_is_traced_to_it(micro_bundle, vocabulary, photo):
    opened, sessions = resident_sessions(micro_bundle)
    encoder = sessions["sam_encoder"]

    def spoil(feeds, into):
        outputs = OnnxRuntimeSession._run(encoder, feeds, into)
        array = into["affinity"]
        whole = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_float * 4).from_address(array.pointer))
        whole[0] = np.nan
        return outputs

    encoder._run = spoil
    told = "sam_encoder engine returned NaN or infinity, found in affinity of head"
    with TrainingFreeSegmenter(opened.manifest, sessions) as segmenter, pytest.raises(EngineError, match=told):
        segmenter.segment(photo, vocabulary)


def stub(providers, on_cpu=()):
    nodes = [SimpleNamespace(op_type=op, name=f"node_{op}") for op in on_cpu]
    graph = SimpleNamespace(ep_name="CPUExecutionProvider", get_nodes=lambda: nodes)
    session = SimpleNamespace(
        get_providers=lambda: providers, get_provider_graph_assignment_info=lambda: [graph], calls=[]
    )
    session.disable_fallback = lambda: session.calls.append("disable_fallback")
    return session


def test_a_provider_that_fell_back_to_the_cpu_is_an_error_unless_asked_for():
    session = stub(["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=r"head: CUDAExecutionProvider did not start.*fell back to CPUExecution"):
        check_assignment(session, "head", CUDA, SessionOptions())
    assert check_assignment(session, "head", CUDA, SessionOptions(allow_fallback=True)) == "cpu"
    assert session.calls == []


def test_a_provider_that_took_the_work_may_leave_shapes_to_the_cpu_but_no_products():
    fine = stub(["CUDAExecutionProvider", "CPUExecutionProvider"], ["Shape", "Gather", "Concat", "Cast"])
    assert check_assignment(fine, "head", CUDA, SessionOptions()) == "cuda"
    assert fine.calls == ["disable_fallback"], "else a failed run is repeated on the CPU"
    bad = stub(["CUDAExecutionProvider"], ["Shape", "MatMul"])
    with pytest.raises(EngineError, match="leaves 1 heavy operators to the CPU: MatMul node_MatMul"):
        check_assignment(bad, "head", CUDA, SessionOptions())
    assert check_assignment(bad, "head", CUDA, SessionOptions(allow_fallback=True)) == "cuda"


def test_an_older_onnxruntime_that_cannot_tell_who_took_a_node_is_believed():
    session = stub(["CUDAExecutionProvider"])
    del session.get_provider_graph_assignment_info
    assert check_assignment(session, "head", CUDA, SessionOptions()) == "cuda"


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_an_onnxruntime_without_the_provider_names_the_package_that_has_it(provider):
    ort = SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"])
    with pytest.raises(EngineError, match=rf"no {provider.name}.*ovdeploy\[gpu\]"):
        check_providers(ort, provider, SessionOptions())
    check_providers(ort, provider, SessionOptions(allow_fallback=True))


def test_the_tensorrt_provider_refuses_half_precision_since_its_networks_are_weakly_typed():
    ort = SimpleNamespace(get_available_providers=lambda: [TENSORRT.name, CUDA.name])
    with pytest.raises(EngineError, match=r"does not take fp16.*weakly typed"):
        check_providers(ort, TENSORRT, SessionOptions(precision="fp16"))
    check_providers(ort, CUDA, SessionOptions(precision="fp16"))
    check_providers(ort, TENSORRT, SessionOptions())


def test_the_cuda_libraries_of_pip_packages_are_looked_for():
    called = []
    ort = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider"], preload_dlls=lambda: called.append(1)
    )
    check_providers(ort, CUDA, SessionOptions())
    assert called == [1]


@pytest.mark.parametrize("backend", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_gpu_provider_here_is_an_error_or_with_leave_the_cpu(backend, micro_bundle, photo, vocabulary, ort_segmenter):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has the provider")
    with pytest.raises(EngineError, match=r"ExecutionProvider.*ovdeploy\[gpu\]"):
        Segmenter.load(micro_bundle, backend=backend)
    with Segmenter.load(micro_bundle, backend=backend, allow_fallback=True) as fallen:
        result = fallen.segment(photo, vocabulary)
    assert result.mask.tobytes() == ort_segmenter.segment(photo, vocabulary).mask.tobytes()


def test_tf32_is_off_and_profiles_are_given_to_the_providers(micro_bundle):
    contract = Bundle.load(micro_bundle).stage("clip_image").contract
    options = SessionOptions(device=3, ranges={"B": (1, 4, 8)})
    names = [entry if isinstance(entry, str) else entry[0] for entry in TENSORRT.request(options, contract)]
    assert names == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    (_, tensorrt), (_, cuda), _ = TENSORRT.request(options, contract)
    assert cuda == {"device_id": "3", "use_tf32": "0"} and tensorrt["device_id"] == "3"
    side = contract.inputs[0].shape[-1]
    for which, batch in (("min", 1), ("opt", 4), ("max", 8)):
        told = tensorrt[f"trt_profile_{which}_shapes"].split(",")
        assert told[0] == f"windows:{batch}x3x{side}x{side}" and told[-1] == f"mean_similarity:{batch}"
    assert CUDA.request(options, contract) == [("CUDAExecutionProvider", cuda), "CPUExecutionProvider"]
    assert not any("cache" in name for name in tensorrt)
    (_, keeping), *_ = TENSORRT.request(options, contract, Path("folder"))
    assert {name: value for name, value in keeping.items() if "cache" in name} == {
        "trt_engine_cache_enable": "1", "trt_engine_cache_path": "folder",
        "trt_timing_cache_enable": "1", "trt_timing_cache_path": "folder",
    }  # fmt: skip


def test_what_tensorrt_compiles_is_kept_apart_by_graph_and_sizes(micro_bundle):
    contract = Bundle.load(micro_bundle).stage("clip_image").contract
    changes = ({}, {"identity": "b"}, {"precision": "int8"}, {"ranges": {"B": (1, 4, 9)}})
    options = [SessionOptions(**{"identity": "a", "ranges": {"B": (1, 4, 8)}, **change}) for change in changes]
    assert len({TENSORRT.folder(each, contract).path for each in options}) == len(options)
    assert CUDA.folder(options[0], contract) is None and TENSORRT.folder(SessionOptions(), contract) is None


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"device": -1}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        SessionOptions(**wrong)


def test_contracts_of_the_bundle_know_their_inputs_by_name(micro_bundle):
    contract = Bundle.load(micro_bundle).stage("head").contract
    assert [contract.input(name) for name in contract.input_names] == list(contract.inputs)
    assert msgspec.structs.asdict(contract.input("affinity"))["name"] == "affinity"


def test_libraries_are_loaded_for_a_provider_that_is_there_and_their_words_go_to_standard_error(capsys):
    """ONNX Runtime 1.23 prints a warning to standard output, in the middle of what `--json` prints."""
    from ovdeploy.runtime.backends.onnxruntime.providers import CUDA, check_providers
    from ovdeploy.runtime.backends.options import SessionOptions

    class Ort:
        providers = ("CPUExecutionProvider",)

        def get_available_providers(self):
            return self.providers

        def preload_dlls(self):
            print("WARNING")

    ort = Ort()
    with pytest.raises(EngineError, match="no CUDAExecutionProvider"):
        check_providers(ort, CUDA, SessionOptions())
    assert capsys.readouterr() == ("", "")
    ort.providers = ("CUDAExecutionProvider",)
    check_providers(ort, CUDA, SessionOptions())
    assert capsys.readouterr() == ("", "WARNING\n")
