"""OpenVINO's sessions: precision, arrays used where they lie, threads, and the compiled models that are kept."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper

from ovdeploy.runtime import Bundle, BundleError, EngineError, Segmenter
from ovdeploy.runtime.backends.openvino import compiled
from ovdeploy.runtime.backends.openvino import session as backend
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import choose_backend, open_session
from ovdeploy.runtime.bundle.opening import graph_precision, open_stage
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.files import CACHE_VARIABLE
from ovdeploy.runtime.stage.contract import StageContract, TensorSpec

ROUNDING = 1e-4  # two backends sum float32 in other orders
LABELS = 0.999  # a pixel may change where two classes tie


def spec(name, shape):
    return TensorSpec(name=name, dtype="float32", shape=shape, layout="any", range="any")


TURNED = StageContract(stage="turn", inputs=(spec("x", ("N", 3)),), outputs=(spec("y", ("P", "Q")),))


@pytest.fixture(scope="module")
def turn(tmp_path_factory):
    """A graph y = 2 xᵀ, whose contract does not say that y's axes are x's."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["d"], "add"),
        helper.make_node("Transpose", ["d"], ["y"], "turn", perm=[1, 0]),
    ]
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["N", 3]), ("y", [3, "N"]))
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    path = tmp_path_factory.mktemp("graphs") / "turn.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / compiled.FOLDER


@pytest.fixture
def with_bf16(monkeypatch):
    monkeypatch.setattr(backend, "capabilities", lambda: ("FP32", "INT8", "BF16"))


def kept_open(session):
    """Whether a session was opened from the cache."""
    return session._kept is not None


def test_outputs_with_axes_that_inputs_do_not_tell_grow_as_needed(turn):
    with open_session(turn, TURNED, "openvino") as session:
        for count in (1, 5, 2):
            x = np.arange(3 * count, dtype=np.float32).reshape(count, 3)
            np.testing.assert_array_equal(session.run({"x": x})["y"], 2 * x.T)


@pytest.mark.parametrize(
    "lay",
    [
        lambda x: x,
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: np.frombuffer(x.tobytes(), np.float32).reshape(x.shape),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.float32, offset=1).reshape(x.shape),
    ],
    ids=["plain", "Fortran", "strided", "read-only", "unaligned"],
)
def test_inputs_may_lie_in_memory_as_they_like(turn, lay):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    with open_session(turn, TURNED, "openvino") as session:
        np.testing.assert_array_equal(session.run({"x": lay(x)})["y"], 2 * x.T)


def test_what_a_run_gave_is_not_overwritten_by_the_next_and_outlives_the_session(turn):
    with open_session(turn, TURNED, "openvino") as session:
        room = np.empty((3, 2), np.float32)
        held = []
        for value in (1, 2, 3):
            x = np.full((2, 3), value, np.float32)
            session.run({"x": x}, {"y": room})
            held.append(session.run({"x": x})["y"])
    assert [array.max() for array in held] == [array.min() for array in held] == [2, 4, 6]
    assert room.min() == room.max() == 6


def test_arrays_are_read_and_written_where_they_lie(turn):
    """The request is given the very memory of the arrays: nothing is copied on the way in or out."""
    given = {}
    with open_session(turn, TURNED, "openvino") as session:
        create = session._compiled.create_infer_request

        def recording():
            request = create()

            def set_tensor(name, tensor):
                given[name] = tensor.data.ctypes.data
                request.set_tensor(name, tensor)

            return SimpleNamespace(set_tensor=set_tensor, infer=request.infer, get_tensor=request.get_tensor)

        session._compiled = SimpleNamespace(create_infer_request=recording, release_memory=lambda: None)
        x, room = np.ones((4, 3), np.float32), np.zeros((3, 8), np.float32).reshape(6, 4)[3:]
        session.run({"x": x}, {"y": room})
    assert given == {"x": x.ctypes.data, "y": room.ctypes.data} and (room == 2).all()


def test_a_session_may_be_shared_between_threads(micro_bundle):
    bundle = Bundle.load(micro_bundle)
    side = bundle.stage("dino").contract.inputs[0].shape[-1]
    photos = [np.random.default_rng(seed).random((1, 3, side, side)).astype(np.float32) for seed in range(8)]
    with open_stage(bundle, "dino", "fp32", "openvino") as session, ThreadPoolExecutor(4) as pool:
        expected = [session.run({"windows": photo})["features"] for photo in photos]
        came = list(pool.map(lambda photo: session.run({"windows": photo})["features"], photos))
    assert [array.tobytes() for array in came] == [array.tobytes() for array in expected]


def test_both_cpu_backends_give_the_same_masks_and_say_who_they_are(micro_bundle, photo, vocabulary):
    results = {}
    for name in ("openvino", "onnxruntime"):
        with Segmenter.load(micro_bundle, backend=name, parameters={"iou_threshold": -10.0}) as segmenter:
            results[name] = segmenter.segment(photo, vocabulary)
            assert segmenter.backend == name and segmenter.precision == "fp32"
    for name, result in results.items():
        assert {"backend": name, "precision": "fp32"}.items() <= result.to_dict().items()
    one, other = results.values()
    assert (one.mask == other.mask).mean() >= LABELS and (one.coarse_mask == other.coarse_mask).mean() >= LABELS


def test_the_command_line_says_what_auto_took(micro_bundle, tmp_path, photo):
    from PIL import Image

    Image.fromarray(photo).save(tmp_path / "a.png")
    arguments = ["segment", str(tmp_path / "a.png"), "--bundle", str(micro_bundle), "--classes", "cup, table"]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path)], catch_exceptions=False)
    assert f"engines: {choose_backend('auto')}, fp32" in result.stderr
    assert json.loads((tmp_path / "a.json").read_text())["backend"] == choose_backend("auto")


def test_fp32_is_asked_for_and_found(turn):
    with open_session(turn, TURNED, "openvino") as session:
        assert session._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


def test_a_precision_other_than_the_one_asked_for_is_an_error(turn, with_bf16, monkeypatch):
    """As if OpenVINO, asked for bf16, went its own way."""
    monkeypatch.setitem(backend.PRECISIONS, "bf16", backend.Precision("f32", "BF16"))
    options = SessionOptions(precision="bf16")
    settings = backend.settings_for(options)
    monkeypatch.setattr(backend, "settings_for", lambda options: settings)
    monkeypatch.setitem(backend.PRECISIONS, "bf16", backend.Precision("bf16", "BF16"))
    with pytest.raises(EngineError, match="turn: OpenVINO computes in f32, not in bf16"):
        open_session(turn, TURNED, "openvino", options=options)


def test_bf16_on_a_cpu_without_it_is_refused_and_told(micro_bundle, monkeypatch):
    monkeypatch.setattr(backend, "capabilities", lambda: ("FP32", "INT8"))
    with pytest.raises(EngineError, match=r"no bf16 arithmetic \(OpenVINO says it computes in FP32, INT8\).*fp32"):
        Segmenter.load(micro_bundle, backend="openvino", precision="bf16")
    assert choose_backend("auto", "bf16") == "onnxruntime" and choose_backend("auto") == "openvino"


def test_bf16_is_a_hint_on_the_fp32_graph_where_the_cpu_has_it(micro_bundle, with_bf16, monkeypatch):
    """The CPU here may have none, so that what OpenVINO is asked for is looked at, and FP32 computed."""
    asked = {}

    def compile_fp32(ov, core, path, device, settings, identity):
        asked[path.name] = settings["INFERENCE_PRECISION_HINT"]
        model, _ = compiled.compile_cached(ov, core, path, device, {**settings, "INFERENCE_PRECISION_HINT": "f32"}, "")
        hint = SimpleNamespace(get_type_name=lambda: settings["INFERENCE_PRECISION_HINT"])
        told = SimpleNamespace(
            inputs=model.inputs,
            outputs=model.outputs,
            create_infer_request=model.create_infer_request,
            release_memory=model.release_memory,
            get_property=lambda name: hint,
        )
        return told, None

    monkeypatch.setattr(backend, "compile_cached", compile_fp32)
    assert choose_backend("auto", "bf16") == "openvino"
    with Segmenter.load(micro_bundle, precision="bf16") as segmenter:
        assert (segmenter.backend, segmenter.precision) == ("openvino", "bf16")
        assert len(segmenter.vocabulary(["cup"]).embeddings) == 1
    assert len(asked) == len(Bundle.load(micro_bundle).manifest.stages)
    assert set(asked.values()) == {"bf16"} and all(".fp32." in name for name in asked)


def test_only_openvino_makes_bf16_and_only_of_an_fp32_graph(micro_bundle):
    bundle = Bundle.load(micro_bundle)
    assert graph_precision(bundle, "dino", "bf16", "openvino") == "fp32"
    assert graph_precision(bundle, "dino", "bf16", "onnxruntime") == "bf16"
    assert graph_precision(bundle, "dino", "fp16", "openvino") == "fp16"
    engine = bundle.stage("dino").engines.pop("fp32")
    bundle.stage("dino").engines["bf16"] = engine
    assert graph_precision(bundle, "dino", "bf16", "openvino") == "bf16"


def test_a_compiled_model_is_kept_and_found_again(micro_bundle, cache):
    bundle = Bundle.load(micro_bundle)
    side = bundle.stage("dino").contract.inputs[0].shape[-1]
    feeds = {"windows": np.random.default_rng(0).random((2, 3, side, side)).astype(np.float32)}
    with open_stage(bundle, "dino", "fp32", "openvino") as first:
        assert len(list(cache.iterdir())) == 1
        before = next(cache.iterdir()).stat().st_ino
        expected = first.run(feeds)
    with open_stage(bundle, "dino", "fp32", "openvino") as second:
        assert kept_open(second) and len(list(cache.iterdir())) == 1
        assert next(cache.iterdir()).stat().st_ino == before
        came = second.run(feeds)
    assert {name: array.tobytes() for name, array in came.items()} == {n: a.tobytes() for n, a in expected.items()}


def test_the_weights_of_a_kept_model_do_not_stay_in_memory_twice(micro_bundle, cache):
    """No page of the file is resident once its weights are packed, and what is read again is the same."""
    bundle = Bundle.load(micro_bundle)
    side = bundle.stage("dino").contract.inputs[0].shape[-1]
    feeds = {"windows": np.random.default_rng(0).random((2, 3, side, side)).astype(np.float32)}
    with open_stage(bundle, "dino", "fp32", "openvino") as session:
        assert resident(cache) == 0
        first = session.run(feeds)["features"]
        assert resident(cache) == 0
        assert session.run(feeds)["features"].tobytes() == first.tobytes()


def resident(folder):
    """Kilobytes in memory of the mapped files of a folder; they must be mapped."""
    mappings = [
        part.splitlines() for part in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    ]
    sizes = [
        int(line.split()[1])
        for head, *lines in mappings
        if str(folder) in head
        for line in lines
        if line.startswith("Rss:")
    ]
    assert sizes
    return sum(sizes)


def test_a_kept_model_is_never_taken_for_another(turn, cache, with_bf16):
    class Machine:
        """What the key asks OpenVINO for."""

        name, types, build = "CPU A", ["FP32"], "1"

        def get_property(self, device, what):
            return {"FULL_DEVICE_NAME": self.name, "OPTIMIZATION_CAPABILITIES": self.types}[what]

        def get_versions(self, device):
            return {device: SimpleNamespace(build_number=self.build)}

    def entry(identity="a", machine=None, **options):
        settings = backend.settings_for(SessionOptions(**options))
        return compiled.entry_name(machine or Machine(), "CPU", settings, identity)

    others = [Machine() for _ in range(3)]
    others[0].name, others[1].types, others[2].build = "CPU B", ["FP32", "BF16"], "2"
    changed = [entry("b"), entry(threads=1), entry(precision="bf16"), *(entry(machine=other) for other in others)]
    assert entry() == entry() and len({entry(), *changed}) == 1 + len(changed)


def test_a_kept_model_that_was_cut_short_is_made_again(micro_bundle, cache):
    bundle = Bundle.load(micro_bundle)
    open_stage(bundle, "dino", "fp32", "openvino").close()
    (blob,) = cache.iterdir()
    blob.write_bytes(blob.read_bytes()[:1000])
    with open_stage(bundle, "dino", "fp32", "openvino") as session:
        assert kept_open(session) and blob.stat().st_size > 1000


def test_a_bundle_that_moved_opens(micro_bundle, cache, tmp_path):
    open_stage(Bundle.load(micro_bundle), "dino", "fp32", "openvino").close()
    moved = shutil.copytree(micro_bundle, tmp_path / "moved")
    open_stage(Bundle.load(moved), "dino", "fp32", "openvino").close()
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written_costs_time_only(micro_bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with open_stage(Bundle.load(micro_bundle), "dino", "fp32", "openvino") as session:
        assert not kept_open(session)


def test_a_graph_that_does_not_load_leaves_nothing_in_the_cache(cache, tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"garbage")
    with pytest.raises(BundleError, match=r"OpenVINO cannot load .*x\.onnx"):
        open_session(path, TURNED, "openvino", options=SessionOptions(identity="a"))
    assert not cache.exists()


def test_entries_that_were_unused_for_longest_make_room(turn, cache, monkeypatch):
    monkeypatch.setattr(compiled, "KEPT", 2)
    for identity in "abacd":
        open_session(turn, TURNED, "openvino", options=SessionOptions(identity=identity)).close()
    kept = {entry.name for entry in cache.iterdir()}
    names = {
        identity: compiled.entry_name(
            backend.import_openvino().Core(), "CPU", backend.settings_for(SessionOptions()), identity
        )
        for identity in "abcd"
    }
    assert kept == {names["c"], names["d"]}


def test_threads_are_bounded(turn):
    with open_session(turn, TURNED, "openvino", threads=1) as session:
        assert session._compiled.get_property("INFERENCE_NUM_THREADS") == 1
