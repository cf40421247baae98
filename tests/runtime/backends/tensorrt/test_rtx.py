"""What only TensorRT-RTX has, on the fake: targets, verdicts, kernels that are kept, options of the backend."""

import dataclasses
import platform
import re
import sys

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import Bundle, BundleError, EngineError, Segmenter
from ovdeploy.runtime.backends import registry
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.registry import check_backend_options, choose_backend
from ovdeploy.runtime.backends.tensorrt import runtime_cache
from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
from ovdeploy.runtime.backends.tensorrt.library import Here
from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
from ovdeploy.runtime.backends.tensorrt.runtime_cache import RuntimeCache
from ovdeploy.runtime.backends.tensorrt.session import open_rtx_plan
from ovdeploy.runtime.backends.tensorrt.targets import numbers
from ovdeploy.runtime.bundle.plan_building import build_plans
from ovdeploy.runtime.bundle.plans import choose_plan, plan_path
from ovdeploy.runtime.errors import ExportError, MissingExtraError, ParameterError
from support.tensorrt.world import World, install

RTX = "tensorrt-rtx"
STAGE = ["dino"]


@pytest.fixture
def world(monkeypatch):
    return install(World("rtx"), monkeypatch)


def built(bundle, *targets, stages=STAGE, **how):
    return build_plans(bundle, stages=stages, library=RTX, options=PlanOptions(targets=targets), **how)


def opened(bundle, **options):
    options = SessionOptions(of_backend=options)
    return open_rtx_plan(plan_path(bundle, "dino", "fp32", options, RTX), bundle.stage("dino").contract, options)


def run(session):
    shape = session.contract.input("windows").shape[1:]
    return session.run({"windows": np.zeros((1, *shape), np.float32)})


# Building


def test_no_gpu_is_asked_for_and_no_timing_cache_is_made(world, bundle):
    world.cuda.devices = 0
    (plan,) = built(bundle).stage("dino").plans
    assert not world.cuda.record.calls and not world.record.names("IBuilderConfig.create_timing_cache")
    assert not list(bundle.path.glob("timing*"))
    assert (plan.library, plan.gpu, plan.compute_capability, plan.targets) == (RTX, "", "", ())
    assert plan.layers == {"fp32": 2}, "of the network: nobody can open the plan"
    assert plan.file.path.endswith(f".rtx{world.trt.__version__}.ampere-plus.plan")
    assert world.record.arguments("IBuilderConfig.num_compute_capabilities=") == [0]
    assert world.record.arguments("IBuilderConfig.clear_flag") == [{"flag": world.trt.BuilderFlag.TF32}]


def test_targets_reach_the_builder_the_name_and_the_manifest(world, bundle):
    planned = built(built(bundle), "sm86", "sm120")
    first, second = Bundle.load(planned.path).stage("dino").plans
    assert first.targets == () and second.targets == ("sm86", "sm120")
    assert second.file.path.endswith(".sm86-sm120.plan")
    given = world.record.arguments("IBuilderConfig.set_compute_capability")
    capability = world.trt.ComputeCapability
    assert [tuple(each.values()) for each in given] == [(capability.SM86, 0), (capability.SM120, 1)]


def test_for_the_gpu_that_is_here_one_is_needed(world, bundle):
    (plan,) = built(bundle, "current").stage("dino").plans
    assert (plan.gpu, plan.compute_capability) == ("NVIDIA Fake 9000", "8.9")
    assert plan.file.path.endswith(".sm89-current.plan") and not world.cuda.streams
    world.cuda.devices = 0
    with pytest.raises(EngineError, match="no NVIDIA GPU"):
        built(bundle, "current")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"targets": ("sm90",)}, "unknown target 'sm90'"),
        ({"targets": ("sm86", "current")}, "stand alone"),
        ({"targets": ("sm75",)}, r"sm75 \(Turing\) does not take fp32; those that do: ampere-plus"),
        ({"workspace": 1}, "--workspace is TensorRT's"),
        ({"optimization_level": 5}, "--optimization-level is TensorRT's"),
        ({"version_compatible": True}, "--version-compatible is TensorRT's"),
        ({"hardware_compatibility": "ampere-plus"}, "--hardware-compatibility is TensorRT's"),
    ],
)
def test_what_it_does_not_build_is_refused_before_anything_slow(world, bundle, options, told):
    with pytest.raises(ParameterError, match=told):
        build_plans(bundle, library=RTX, options=PlanOptions(**options))
    assert world.record.calls == []


@pytest.mark.parametrize("target", ["ampere-plus", "sm75", "sm80", "sm86"])
def test_fp8_is_refused_where_the_hardware_lacks_it(target):
    with pytest.raises(ParameterError, match=r"does not take fp8; those that do: sm89, sm120, sm121"):
        LIBRARIES[RTX].check(PlanOptions(targets=(target,)), "fp8")
    with pytest.raises(ParameterError, match="does not take fp8"):
        LIBRARIES[RTX].check(PlanOptions(targets=("sm89", target)) if target != "ampere-plus" else PlanOptions(), "fp8")
    LIBRARIES[RTX].check(PlanOptions(targets=("sm89", "sm120")), "fp8")


def test_tensorrt_knows_no_targets():
    with pytest.raises(ParameterError, match="--target is TensorRT-RTX's"):
        LIBRARIES["tensorrt"].check(PlanOptions(targets=("sm89",)), "fp16")


# Choosing


def here(capability, version=None, world=None):
    return Here(version or world.trt.__version__, "Some GPU", capability, RTX)


def test_the_plan_for_the_fewest_gpus_is_taken(world, bundle):
    planned = built(built(built(bundle), "sm89"), "sm86", "sm89")
    choose = lambda capability: choose_plan(planned, "dino", "fp32", here(capability, world=world)).targets  # noqa: E731
    assert choose("8.9") == ("sm89",) and choose("8.6") == ("sm86", "sm89")
    assert choose("8.0") == choose("10.0") == choose("12.1") == (), "what no matrix names only the library knows"


@pytest.mark.parametrize(
    ("capability", "version", "told"),
    [
        ("8.6", None, r"built for sm89, here is Some GPU \(8.6\)"),
        ("7.5", None, r"built for sm89, here is Some GPU \(7.5\).*This GPU \(7.5\) does not take fp32"),
        ("8.9", "1.8.0.1", r"built by TensorRT-RTX 1.7.1.116, here is 1.8.0.1"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused_with_what_differs_and_the_command(
    world, bundle, capability, version, told
):
    with pytest.raises(BundleError, match=told):
        choose_plan(built(bundle, "sm89"), "dino", "fp32", here(capability, version, world))


def test_no_plan_is_opened_or_built_on_a_gpu_that_the_library_does_not_run_on(world, bundle):
    with pytest.raises(BundleError, match=r"here is Some GPU \(9.0\).*take --backend tensorrt or onnxruntime-cuda"):
        choose_plan(built(bundle), "dino", "fp32", here("9.0", world=world))
    world.cuda.capability = (9, 0)
    with pytest.raises(ExportError, match=r"runs no plans on NVIDIA Fake 9000.*compute capability 9.0"):
        built(bundle, "current")


@pytest.mark.parametrize(
    ("precision", "capability", "remedy"),
    [
        ("fp16", "8.6", r"on any machine with: x --backend tensorrt-rtx$"),
        ("fp8", "8.9", r"on any machine with: x --backend tensorrt-rtx --target sm89$"),
        ("fp16", "7.5", r"on any machine with: x --backend tensorrt-rtx --target sm75$"),
        ("fp16", "9.0", r"does not support compute capability 9.0 \(an H100 .*--backend tensorrt or onnxruntime-cuda"),
        ("fp8", "10.0", r"on this machine with: x --backend tensorrt-rtx --target current$"),
        ("fp8", "8.6", r"This GPU \(8.6\) does not take fp8"),
        ("fp32", "7.5", r"This GPU \(7.5\) does not take fp32"),
    ],
)
def test_the_remedy_is_a_command_that_can_work(precision, capability, remedy):
    told = LIBRARIES[RTX].remedy(Here("1", "Some GPU", capability, RTX), precision, "x")
    assert re.search(remedy, told), told
    if "--target" in told:
        target = told.rpartition(" ")[2]
        LIBRARIES[RTX].check(PlanOptions(targets=(target,)), precision)


def test_versions_of_any_spelling_are_compared_by_their_numbers():
    assert numbers("10.16.1.11rc2") == (10, 16, 1, 11, 2) < numbers("11.4.0.106") and numbers("9.0") == (9, 0)


def test_the_usual_target_by_name_is_the_usual_plan(world, bundle):
    first = built(bundle, "ampere-plus")
    assert built(first).manifest == first.manifest and first.stage("dino").plans[0].targets == ()


def test_kernels_that_cannot_be_kept_do_not_keep_memory(world, bundle, monkeypatch):
    planned = built(bundle)
    monkeypatch.setattr(RuntimeCache, "write", lambda *_: 1 / 0)
    opened(planned).close()
    assert not world.cuda.memory and not world.cuda.streams


def test_plans_of_one_library_are_none_of_the_other(world, bundle, monkeypatch):
    planned = built(bundle)
    with pytest.raises(BundleError, match=r"no TensorRT plan of dino .*--backend tensorrt$"):
        choose_plan(planned, "dino", "fp32", Here("11", "Some GPU", "8.9"))
    stale = msgspec.structs.replace(planned.stage("dino").plans[0], onnx_sha256="0")
    entry = msgspec.structs.replace(planned.stage("dino"), plans=(stale,))
    stages = {**planned.manifest.stages, "dino": entry}
    altered = Bundle(planned.path, msgspec.structs.replace(planned.manifest, stages=stages))
    with pytest.raises(BundleError, match="its graph has been exported again since"):
        choose_plan(altered, "dino", "fp32", here("8.9", world=world))


# Running


@pytest.mark.parametrize(
    ("bits", "told"),
    [
        (2, "it is not for this GPU's compute capability"),
        (4 | 16, "NVIDIA's driver is too old for it; the GPU has too little memory"),
        (32, "it is malformed"),
    ],
)
def test_the_librarys_verdict_is_told_in_words(world, bundle, bits, told):
    planned = built(bundle)
    world.faults["validity"] = bits
    with pytest.raises(BundleError, match=rf"TensorRT-RTX will not open .*{told}.*--backend tensorrt-rtx"):
        opened(planned)
    assert not world.cuda.streams and not world.cuda.memory


def test_a_verdict_without_a_reason_leaves_the_word_to_the_runtime(world, bundle):
    planned = built(bundle)
    world.faults |= {"validity": 0, "deserialize": True}
    with pytest.raises(BundleError, match=r"TensorRT-RTX cannot open .*The engine plan file is not compatible"):
        opened(planned)


def test_strategies_are_set_and_graphs_left_to_the_library_unless_told_otherwise(world, bundle):
    planned, trt = built(bundle), world.trt
    strategy = "IRuntimeConfig.cuda_graph_strategy="
    with opened(planned) as session:
        run(session)
        session.tune()
        assert session.graphs.report == {}
    assert world.record.arguments(strategy) == [trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE]
    lazy = trt.DynamicShapesKernelSpecializationStrategy.LAZY
    assert world.record.arguments("IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy=") == [lazy]
    with opened(planned, **{"cuda-graphs": "off", "specialization": "eager"}) as session:
        run(session)
        session.tune()
        assert session.graphs.report
    assert world.record.arguments(strategy)[-1] == trt.CudaGraphStrategy.DISABLED


def test_options_reach_the_sessions_and_wrong_ones_are_refused(world, bundle, monkeypatch, vocabulary, photo):
    monkeypatch.setattr(registry, "find_spec", lambda name: name)
    planned = built(bundle, stages=None)
    with Segmenter.load(planned.path, backend=RTX, backend_options={"specialization": "none"}) as fast:
        fast.segment(photo, vocabulary)
    none = world.trt.DynamicShapesKernelSpecializationStrategy.NONE
    assert set(world.record.arguments("IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy=")) == {none}
    for wrong, told in (({"cuda-graph": "off"}, "'cuda-graph'.*Did you mean 'cuda-graphs'"),
                        ({"cuda-graphs": "on"}, "unknown value .*'on'.*off, whole-graph")):  # fmt: skip
        with pytest.raises(ParameterError, match=told):
            Segmenter.load(planned.path, backend=RTX, backend_options=wrong)
    with pytest.raises(ParameterError, match="has no options of its own"):
        check_backend_options("onnxruntime", {"cuda-graphs": "off"})


# Kernels that are kept


def test_kernels_are_kept_beside_the_plan_and_given_back(world, bundle):
    planned = built(bundle)
    with opened(planned) as session:
        run(session)
    (kept,) = planned.path.glob("*.kernels")
    assert kept.name.endswith(".ampere-plus.plan.nvidia-fake-9000.kernels")
    written = kept.stat().st_mtime_ns
    with opened(planned):
        assert world.cached == [b"kernels"]
    assert kept.stat().st_mtime_ns == written, "what is the same is not written again"
    with opened(planned, **{"runtime-cache": "off"}):
        assert world.cached == [b"kernels"]
    assert Bundle.load(planned.path).manifest == planned.manifest


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:10], lambda data: b"", lambda data: b"x" + data]
)
def test_damaged_kernels_are_made_anew(world, bundle, damage):
    planned = built(bundle)
    opened(planned).close()
    (kept,) = planned.path.glob("*.kernels")
    whole = kept.read_bytes()
    kept.write_bytes(damage(whole))
    opened(planned).close()
    assert world.cached == [] and kept.read_bytes() == whole


def test_kernels_are_bounded_and_go_with_their_plan(tmp_path, monkeypatch):
    plan, other = tmp_path / "a.fp16.plan", tmp_path / "b.fp16.plan"
    for path in (plan, other):
        path.write_bytes(b"plan")
    RuntimeCache(other, "GPU").write(b"of the other")
    for index in range(runtime_cache.MOST_FILES + 2):
        RuntimeCache(plan, f"GPU {index}").write(b"kernels")
    names = {path.name for path in tmp_path.glob("*.kernels")}
    assert len(names) == runtime_cache.MOST_FILES + 1 and "b.fp16.plan.gpu.kernels" in names
    other.unlink()
    RuntimeCache(plan, "GPU 0").write(b"new")
    assert not (tmp_path / "b.fp16.plan.gpu.kernels").exists()
    monkeypatch.setattr(runtime_cache, "FORM", dataclasses.replace(runtime_cache.FORM, most=3))
    RuntimeCache(plan, "GPU 9").write(b"too long")
    assert RuntimeCache(plan, "GPU 9").read() == b""


def test_where_the_bundle_cannot_be_written_the_users_cache_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("OVDEPLOY_CACHE", str(tmp_path / "cache"))
    plan = tmp_path / "gone" / "a.plan"
    (tmp_path / "gone").write_text("a file where a folder should be")
    RuntimeCache(plan, "GPU").write(b"kernels")
    assert RuntimeCache(plan, "GPU").read() == b"kernels"
    assert [path.parent.name for path in tmp_path.rglob("*.kernels")] == [RTX]


# Not here


def test_a_missing_wheel_is_told_with_its_line_and_a_processor_without_one_by_name(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    for ask in (lambda: built(bundle), lambda: choose_backend(RTX)):
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        with pytest.raises(MissingExtraError, match=r"pip install 'ovdeploy\[tensorrt-rtx\]'"):
            ask()
        monkeypatch.setattr(platform, "machine", lambda: "aarch64")
        with pytest.raises(EngineError, match=r"x86_64 and AMD64 alone, and this machine is aarch64.*'tensorrt'"):
            ask()


def test_a_library_that_does_not_load_is_our_error(monkeypatch):
    def fail(name):
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr("ovdeploy.runtime.backends.tensorrt.library.import_module", fail)
    with pytest.raises(EngineError, match="is installed and does not load here: libcudart"):
        LIBRARIES[RTX].load()
