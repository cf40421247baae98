"""Running plans on a fake GPU whose engines compute by ONNX Runtime: true numbers at checked addresses."""

import shutil

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import Bundle, BundleError, EngineError, Prompter, Segmenter
from ovdeploy.runtime.backends import registry
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
from ovdeploy.runtime.backends.tensorrt.session import TensorRTSession
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.bundle.plan_building import build_plans
from ovdeploy.runtime.bundle.plans import plan_path
from ovdeploy.runtime.stage.arrays import DeviceArray
from support.tensorrt.world import OUT_OF_MEMORY, World, install

EVERYTHING = {"iou_threshold": -10.0, "min_area": 1, "region_threshold": 0.0}


OWN_GRAPHS = {"cuda-graphs": "off"}
"""TensorRT-RTX captures graphs by itself unless it is told not to."""


@pytest.fixture(params=[10, 11, "rtx"])
def world(request, monkeypatch):
    """A machine whose GPU and library are fakes."""
    return install(World(request.param), monkeypatch)


def of_backend(world):
    return OWN_GRAPHS if world.library == "tensorrt-rtx" else {}


@pytest.fixture
def planned(world, bundle, monkeypatch):
    """The tiny bundle with plans of every stage."""
    monkeypatch.setattr(registry, "find_spec", lambda name: name)
    return build_plans(bundle, library=world.library)


def loaded(world, planned, **how):
    return Segmenter.load(planned.path, backend=world.library, backend_options=of_backend(world), **how)


@pytest.fixture
def dino(world, bundle):
    """The session of one stage, and feeds for it."""
    planned = build_plans(bundle, stages=["dino"], library=world.library)
    with open_dino(planned, world) as session:
        yield session


def open_dino(bundle, world, **options):
    options = SessionOptions(**{"of_backend": of_backend(world), **options})
    path = plan_path(bundle, "dino", "fp32", options, world.library)
    return TensorRTSession(path, bundle.stage("dino").contract, options, LIBRARIES[world.library])


def windows(session, count, seed=0):
    shape = session.contract.input("windows").shape[1:]
    return np.random.default_rng(seed).random((count, *shape)).astype(np.float32)


def calls(world):
    return [name for name, _ in world.cuda.record.calls]


def test_the_pipeline_on_tensorrt_gives_the_mask_of_onnx_runtime(planned, world, ort_segmenter, vocabulary, photo):
    expected = ort_segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    with loaded(world, planned, parameters=EVERYTHING) as fast:
        fast.warmup()
        for batch in (8, 1, 2):  # batches write into rows of one array
            result = fast.segment(photo, vocabulary, parameters={"window_batch": batch})
            assert result.mask.tobytes() == expected.mask.tobytes()
            # sums over a batch may be split differently
            np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)
        words = fast.vocabulary(["cup; mug", "table"])
        assert np.isfinite(words.embeddings).all()
    assert not world.cuda.memory and not world.cuda.pinned and not world.cuda.streams, "all is given back"
    kinds = {name for name in calls(world) if name.startswith("cudaMemcpy")}
    assert kinds == {"cudaMemcpyAsync"}


def test_only_small_arrays_cross_between_device_and_host(planned, world, vocabulary, photo):
    """Of a steady run: windows and SAM's image go up once; logits, means and masks come down."""
    with loaded(world, planned, parameters=EVERYTHING) as fast:
        fast.segment(photo, vocabulary)
        world.cuda.record.calls.clear()
        fast.segment(photo, vocabulary)
        assert not {"cudaMalloc", "cudaMallocHost", "cudaFree"} & set(calls(world)), "buffers are sized once"
        copied = [given["count"] for name, given in world.cuda.record.calls if name == "cudaMemcpyAsync"]
    sam = [_size(spec) for spec in planned.stage("sam_encoder").contract.outputs]
    rows = [_size(planned.stage(stage).contract.output("features")) for stage in ("dino", "clip_image")]
    features = [row * count for row in rows for count in range(1, 9)]
    assert not set(copied) & {*sam, *features}, "neither affinity nor features cross"
    crop = _size(planned.stage("dino").contract.input("windows"))
    assert sum(count % crop == 0 for count in copied) == 1, "windows go up once, though two engines read them"


def test_encoded_photos_stay_on_the_gpu_each_in_memory_of_its_own(planned, world, ort_segmenter, vocabulary, photo):
    """Two photos that are encoded before either is asked about: nothing of one is written over the other's."""
    photos = [photo, np.ascontiguousarray(photo[:, ::-1])]
    expected = [ort_segmenter.segment(each, vocabulary, parameters=EVERYTHING) for each in photos]
    with loaded(world, planned, parameters=EVERYTHING) as fast:
        encoded = [fast.encode(each) for each in photos]
        assert all(isinstance(array, DeviceArray) for each in encoded for array in each.arrays().values())
        world.cuda.record.calls.clear()
        answers = [each.segment(vocabulary) for each in encoded]
        copied = [given["count"] for name, given in world.cuda.record.calls if name == "cudaMemcpyAsync"]
        assert not {array.nbytes for each in encoded for array in each.arrays().values()} & set(copied)
        for answer, wanted in zip(answers, expected, strict=True):
            assert answer.mask.tobytes() == wanted.mask.tobytes()
        held, freed = len(world.cuda.memory), len(encoded[0].arrays())
        del encoded[0]
        assert len(world.cuda.memory) == held - freed, "a photo that nobody holds gives its memory back"


def test_an_encoded_photo_is_saved_from_the_gpu_while_its_engines_are_open(planned, world, vocabulary, photo, tmp_path):
    with loaded(world, planned, parameters=EVERYTHING) as fast:
        encoded = fast.encode(photo)
        encoded.save(tmp_path / "photo.npz")
        read = fast.load_encoded(tmp_path / "photo.npz")
        assert read.segment(vocabulary).mask.tobytes() == encoded.segment(vocabulary).mask.tobytes()
        assert read.nbytes == encoded.nbytes
    with pytest.raises(EngineError, match="closed"):
        encoded.save(tmp_path / "late.npz")
    assert not (tmp_path / "late.npz").exists()


def test_a_prompted_photo_stays_on_the_gpu_too(world, complete_bundle, tmp_path, monkeypatch, photo):
    monkeypatch.setattr(registry, "find_spec", lambda name: name)
    bundle = Bundle.load(shutil.copytree(complete_bundle, tmp_path / "complete"))
    planned = build_plans(bundle, stages=["sam_encoder", "sam_prompt_decoder"], library=world.library)
    other, how = np.ascontiguousarray(photo[::-1]), {"backend": world.library, "backend_options": of_backend(world)}
    with Prompter.load(planned.path, backend="onnxruntime") as slow, Prompter.load(planned.path, **how) as fast:
        first, second = fast.encode(photo), fast.encode(other)
        for ours, theirs in ((first, slow.encode(photo)), (second, slow.encode(other))):
            for name, features in theirs.feature_maps.items():
                np.testing.assert_array_equal(ours.feature_maps[name], features)
            box = [2, 2, photo.shape[1] - 3, photo.shape[0] - 3]
            np.testing.assert_array_equal(ours.predict(box=box).masks, theirs.predict(box=box).masks)


def _size(spec):
    """Bytes of an array, or of one row of a batch."""
    return int(np.prod([size for size in spec.shape if isinstance(size, int)])) * 4


def test_a_run_copies_up_sets_shapes_and_addresses_enqueues_copies_down_and_waits(dino, world):
    world.record.calls.clear()
    world.cuda.record.calls.clear()
    outputs = dino.run({"windows": windows(dino, 2)})
    steps = world.record.names(
        "IExecutionContext.set_input_shape",
        "IExecutionContext.set_tensor_address",
        "IExecutionContext.execute_async_v3",
    )
    assert steps == [
        "IExecutionContext.set_input_shape", *["IExecutionContext.set_tensor_address"] * 3,
        "IExecutionContext.execute_async_v3",
    ]  # fmt: skip
    (stream,) = world.cuda.streams
    assert world.record.arguments("IExecutionContext.execute_async_v3") == [{"stream_handle": stream}]
    assert calls(world)[-1] == "cudaStreamSynchronize" and calls(world).count("cudaStreamSynchronize") == 1
    assert calls(world)[0] == "cudaSetDevice", "whatever thread calls"
    assert outputs["features"].shape[0] == 2 and np.isfinite(outputs["features"]).all()


def test_outputs_are_sized_at_the_profiles_maximum_when_a_plan_is_opened(world, bundle):
    planned = build_plans(bundle, stages=["dino"], library=world.library)
    world.record.calls.clear()
    with open_dino(planned, world) as session:
        largest = bundle.recipe.parameters.window_batch
        shape = (largest, *session.contract.inputs[0].shape[1:])
        assert world.record.arguments("IExecutionContext.set_input_shape") == [{"name": "windows", "shape": shape}]
        assert world.record.names("IExecutionContext.infer_shapes") == ["IExecutionContext.infer_shapes"]
        world.cuda.record.calls.clear()
        for count in (1, largest, 2):
            session.run({"windows": windows(session, count)})
        sizes = [given["size"] for name, given in world.cuda.record.calls if name == "cudaMalloc"]
        features = session.contract.outputs[0].sized({"B": largest})
        assert sorted(sizes) == sorted([int(np.prod(shape)) * 4, int(np.prod(features)) * 4, largest * 4])
        assert world.record.names("IExecutionContext.set_device_memory") == ["IExecutionContext.set_device_memory"]


def test_results_do_not_change_when_the_pinned_memory_is_used_again(dino):
    first = dino.run({"windows": windows(dino, 2, seed=1)})
    before = {name: array.copy() for name, array in first.items()}
    dino.run({"windows": windows(dino, 2, seed=2)})
    for name, array in first.items():
        np.testing.assert_array_equal(array, before[name])


def test_rows_that_are_not_aligned_go_by_a_copy(dino):
    """An address that kernels may not be given: the engine's own buffer stands in."""
    feeds = windows(dino, 3)
    expected = dino.run({"windows": feeds})
    inputs = dino.put("windows", feeds)
    room = dino.empty("mean_similarity", B=3)
    features = dino.empty("features", B=3)
    for row in range(3):
        part = slice(row, row + 1)
        dino.run({"windows": inputs[part]}, {"mean_similarity": room[part], "features": features[part]})
    assert room[1:].pointer % 256, "the case must be one"
    np.testing.assert_allclose(room.numpy(), expected["mean_similarity"], atol=1e-6)  # batches of 1 and 3
    np.testing.assert_allclose(features.numpy(), expected["features"], atol=1e-6)
    shifted = DeviceArray(inputs.block, (1, *inputs.shape[1:]), inputs.dtype, "test", offset=4)
    with np.errstate(all="ignore"):
        dino.run({"windows": shifted})


def test_room_on_the_host_is_filled_too(dino):
    feeds = windows(dino, 2)
    expected = dino.run({"windows": feeds})
    room = np.empty_like(expected["features"])
    came = dino.run({"windows": feeds}, {"features": room})
    assert set(came) == {"mean_similarity"}
    np.testing.assert_array_equal(room, expected["features"])


def test_what_an_earlier_photo_left_is_stale_and_says_so(dino):
    first = dino.empty("features", B=1)
    dino.run({"windows": windows(dino, 1)}, {"features": first})
    kept = first.numpy()
    dino.empty("features", B=1)
    with pytest.raises(EngineError, match="dino engine made has been overwritten"):
        first.numpy()
    assert np.isfinite(kept).all()


def test_memory_that_was_never_written_shows(dino):
    """The fake fills new memory with NaN, so that the other tests see what is read before it is written."""
    assert np.isnan(dino.empty("features", B=1).numpy()).all()


def test_a_shape_outside_the_profile_is_refused_with_the_command(dino, world, bundle):
    count = bundle.recipe.parameters.window_batch + 1
    world.record.calls.clear()
    with pytest.raises(EngineError) as caught:
        dino.run({"windows": windows(dino, count)})
    for words in (f"B = {count} (axis 0 of windows)", "--stages dino ", f" --range B=1:{count}:{count}"):
        assert words in str(caught.value)
    assert world.record.calls == [], "nothing is set or enqueued"


def tuned(world, dino, graph, plain):
    world.cuda.cost = {"graph": graph, "plain": plain}
    dino.run({"windows": windows(dino, 2)})
    dino.tune()
    world.cuda.record.calls.clear()
    world.record.calls.clear()


def test_a_graph_that_is_faster_is_kept_for_its_shape_and_gives_the_same(dino, world):
    feeds = windows(dino, 2, seed=5)
    expected = dino.run({"windows": feeds})
    tuned(world, dino, graph=1.0, plain=2.0)
    came = dino.run({"windows": feeds})
    assert "cudaGraphLaunch" in calls(world) and world.record.names("IExecutionContext.execute_async_v3") == []
    assert all((came[name] == array).all() for name, array in expected.items())
    (report,) = dino.graphs.report.values()
    assert report == "graph: 1.000 ms as a graph, 2.000 ms without"
    dino.run({"windows": windows(dino, 1)})  # a shape that was not seen at the warm-up: of another context
    again = dino.run({"windows": feeds})
    assert all((again[name] == array).all() for name, array in expected.items())
    assert world.record.names("IExecutionContext.execute_async_v3") == ["IExecutionContext.execute_async_v3"]
    dino.close()
    assert calls(world).count("cudaGraphExecDestroy") == 1


def test_a_graph_that_is_no_faster_is_dropped(dino, world):
    tuned(world, dino, graph=1.99, plain=2.0)
    dino.run({"windows": windows(dino, 2)})
    assert "cudaGraphLaunch" not in calls(world)
    (report,) = dino.graphs.report.values()
    assert report.startswith("enqueued: 1.990 ms as a graph")


@pytest.mark.parametrize("fault", ["enqueue", "end", "instantiate"])
def test_a_failed_capture_is_ended_cleared_and_the_engine_runs_on(dino, world, fault):
    expected = dino.run({"windows": windows(dino, 2)})
    if fault == "enqueue":
        world.faults["uncapturable"] = True
    else:
        world.cuda.faults[{"end": "cudaStreamEndCapture", "instantiate": "cudaGraphInstantiate"}[fault]] = 901
    dino.tune()
    names = calls(world)
    assert ("cudaStreamEndCapture" in names and world.cuda.capturing is None) or fault == "end"
    if fault != "instantiate":
        assert names.index("cudaGetLastError") > names.index("cudaStreamEndCapture"), "the error must not stick"
    (report,) = dino.graphs.report.values()
    assert report.startswith("enqueued: ") and ("901" in report or "synchronises" in report)
    world.cuda.faults.clear()
    world.cuda.capturing = None
    came = dino.run({"windows": windows(dino, 2)})
    assert all((came[name] == array).all() for name, array in expected.items())


def test_a_call_whose_memory_is_gone_is_not_tuned(dino, world):
    room = dino.empty("features", B=1)
    dino.run({"windows": windows(dino, 1)}, {"features": room})
    dino.empty("features", B=4)  # more: the memory of the first is given back
    dino.tune()
    assert dino.graphs.report == {}


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ({"enqueue": True}, "could not enqueue dino.*something is wrong"),
        ({"shape": "windows"}, "dino: TensorRT(-RTX)? refuses windows of shape"),
        ({"address": "features"}, "dino: TensorRT(-RTX)? refuses the address of features"),
    ],
)
def test_what_tensorrt_refuses_names_the_stage(dino, world, faults, told):
    world.faults.update(faults)
    with pytest.raises(EngineError, match=told):
        dino.run({"windows": windows(dino, 1)})


@pytest.mark.parametrize(
    ("function", "code"), [("cudaStreamSynchronize", 700), ("cudaMalloc", OUT_OF_MEMORY), ("cudaMemcpyAsync", 1)]
)
def test_an_error_of_the_gpu_names_the_stage(dino, world, function, code):
    world.cuda.faults[function] = code
    with pytest.raises(EngineError, match=f"dino engine failed: CUDA error {code}, error {code} in words"):
        dino.run({"windows": windows(dino, 1)})


def test_nan_out_of_an_engine_names_the_stage(dino):
    with pytest.raises(EngineError, match="dino engine returned"):
        dino.run({"windows": np.full_like(windows(dino, 1), np.nan)})


@pytest.mark.parametrize(
    ("faults", "error", "told"),
    [
        ({"deserialize": True}, BundleError, "cannot open .*not compatible"),
        ({"context": True}, EngineError, "dino finds no room on the GPU"),
        ({"shape": "windows"}, EngineError, "dino: TensorRT(-RTX)? refuses windows of shape .*its profile's largest"),
        ({"open": ["features"]}, EngineError, "dino plan leaves the shape of features open"),
        ({"vague": ["features"]}, EngineError, "dino: the shape of features depends on values"),
        ({"host": ["windows"]}, BundleError, "wants windows in the host's memory"),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_when_it_is_opened(world, bundle, faults, error, told):
    planned = build_plans(bundle, stages=["dino"], library=world.library)
    world.faults.update(faults)
    with pytest.raises(error, match=told):
        open_dino(planned, world)
    assert not world.cuda.streams and not world.cuda.memory


def test_a_plan_of_another_stage_is_refused_with_both_signatures(world, bundle):
    planned = build_plans(bundle, stages=["dino", "head"], library=world.library)
    path = plan_path(planned, "dino", "fp32", SessionOptions(), world.library)
    with pytest.raises(BundleError, match=r"the plan gives features float32.*its contract gives logits float32"):
        TensorRTSession(path, planned.stage("head").contract, SessionOptions())


def test_every_session_has_a_stream_of_its_own_and_gives_it_back_once(planned, world):
    options = SessionOptions()
    first, second = (open_stage(planned, stage, "fp32", world.library, options) for stage in ("dino", "head"))
    assert len(world.cuda.streams) == 2
    first.close()
    first.close()
    assert len(world.cuda.streams) == 1
    second.close()
    assert not world.cuda.streams


def test_host_code_is_allowed_to_tensorrt_only_when_it_is_to_us(world, bundle):
    planned = build_plans(bundle, stages=["dino"], library=world.library)
    for allowed in (False, True):
        world.record.calls.clear()
        open_dino(planned, world, allow_host_code=allowed).close()
        assert world.record.arguments("Runtime.engine_host_code_allowed=") == [allowed]


@pytest.mark.parametrize("which", [11, "rtx"])
def test_every_name_of_a_library_that_the_source_uses_was_used_on_the_fake(which, bundle, monkeypatch):
    """What no test runs no fake has checked. Methods and properties, found in the source."""
    from support.tensorrt.recording import SURFACES
    from support.tensorrt.sources import OURS, attributes, sources

    world = install(World(which, capability=(8, 9)), monkeypatch)
    built = build_plans(bundle, stages=["dino"], options=OPTIONS[which], library=world.library)
    with open_dino(built, world, allow_host_code=True) as session:
        session.run({"windows": windows(session, 1)})
        session.tune()
    with open_dino(built, world, allow_host_code=True):
        assert which == 11 or world.cached == [b"kernels"]
    world.faults["parse"] = [("no", 1)]
    with pytest.raises(Exception, match="no at node 1"):
        build_plans(built, stages=["dino"], force=True, library=world.library)
    name = "tensorrt11" if which == 11 else "tensorrt-rtx"
    classes = SURFACES[name]["classes"].values()
    known = {name for spec in classes for name in (*spec["methods"], *spec["properties"])} - {"__init__"}
    used = {name for path in sources(name) for name in attributes(path)} & known
    ran = {name for _, name in world.record.used}
    overridden = {"log", "phase_start", "phase_finish", "step_complete"}  # called by TensorRT, not by us
    assert used - ran - overridden - OURS == set()


OPTIONS = {11: PlanOptions(workspace=1, version_compatible=True), "rtx": PlanOptions(targets=("sm86", "sm89"))}


def test_the_fake_rejects_what_the_bindings_lack():
    """A fake that takes anything proves nothing."""
    old, new = World(10).trt, World(11).trt
    assert old.BuilderFlag.FP16 and not hasattr(new.BuilderFlag, "FP16")
    with pytest.raises(AttributeError, match="has no IInt8EntropyCalibrator2"):
        _ = new.IInt8EntropyCalibrator2
    logger = new.ILogger()
    with pytest.raises(TypeError, match=r"Builder.__init__ takes .*logger"):
        new.Builder()
    with pytest.raises(AssertionError, match="cannot be made"):
        new.ICudaEngine()
    world = World(11)
    world.log_infos = lambda: None
    builder = world.trt.Builder(world.trt.ILogger())
    for wrong in (lambda: builder.create_network("1"), lambda: builder.create_network(1, 2), lambda: builder.reset(1)):
        with pytest.raises(TypeError):
            wrong()
    config = builder.create_builder_config()
    with pytest.raises(TypeError):
        config.set_flag(world.trt.TensorIOMode.INPUT)
    with pytest.raises(TypeError):
        config.set_timing_cache(None)
    for name in ("int8_calibrator", "max_workspace_size"):
        with pytest.raises(AttributeError):
            setattr(config, name, 1)
    with pytest.raises(AttributeError, match="cannot be set"):
        config.num_optimization_profiles = 1
    with pytest.raises(AttributeError):
        _ = builder.platform_has_fast_fp16
    with pytest.raises(AssertionError, match="phase_start takes"):

        class Wrong(world.trt.IProgressMonitor):
            def phase_start(self, name, parent):
                """Too few arguments."""

    assert logger is not None
    cuda = world.cuda
    with pytest.raises(AttributeError, match="no cudaMallocManaged"):
        cuda.cudaMallocManaged(1)
    with pytest.raises(AssertionError, match="cudaMalloc takes"):
        cuda.cudaMalloc(1, 2)


def test_a_bundle_is_loaded_again_with_its_plans(planned):
    assert Bundle.load(planned.path).manifest == planned.manifest
    assert msgspec.json.encode(planned.manifest)


@pytest.mark.parametrize("into", [False, True])
@pytest.mark.parametrize("change", ["transposed", "cut", "flat", "another batch"])
def test_a_plan_whose_outputs_are_not_the_contracts_is_refused_before_it_runs(world, bundle, change, into):
    """Its room has the contract's size, so it would write past the end of it, or leave some as it was."""
    planned = build_plans(bundle, stages=["dino"], library=world.library)
    contract = planned.stage("dino").contract
    features = contract.output("features")
    shapes = {
        "transposed": (features.shape[1], features.shape[0], *features.shape[2:]),
        "cut": (*features.shape[:-1], features.shape[-1] - 1),
        "flat": features.shape[:-1],
        "another batch": (1, *features.shape[1:]),
    }
    other = msgspec.structs.replace(features, shape=shapes[change])
    outputs = tuple(other if spec.name == "features" else spec for spec in contract.outputs)
    options = SessionOptions(of_backend=of_backend(world))
    path = plan_path(planned, "dino", "fp32", options, world.library)
    wrong = msgspec.structs.replace(contract, outputs=outputs)
    with TensorRTSession(path, wrong, options, LIBRARIES[world.library]) as session:
        windows = np.ones((2, *contract.inputs[0].shape[1:]), np.float32)
        room = {"features": session.empty("features", B=2)} if into else {}
        before = len(world.record.arguments("IExecutionContext.execute_async_v3"))
        with pytest.raises(EngineError, match=r"dino: features must have shape") as caught:
            session.run({"windows": windows}, room)
        assert caught.value.stage == "dino"
        assert len(world.record.arguments("IExecutionContext.execute_async_v3")) == before
