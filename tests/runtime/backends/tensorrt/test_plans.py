"""Building plans on a fake TensorRT that rejects what the real bindings lack: order, arguments, files, and errors."""

import json

import msgspec
import pytest

from ovdeploy.runtime import Bundle, BundleError, EngineError
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.tensorrt.library import Here
from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
from ovdeploy.runtime.backends.tensorrt.progress import Phases
from ovdeploy.runtime.bundle.bundle import EngineEntry, file_entry, write_manifest
from ovdeploy.runtime.bundle.plan_building import TIMINGS, build_plans, plan_name
from ovdeploy.runtime.bundle.plans import choose_plan, misfit, plan_path
from ovdeploy.runtime.errors import ExportError, MissingExtraError, ParameterError
from ovdeploy.runtime.graph.census import take_census
from ovdeploy.runtime.graph.half import to_half
from ovdeploy.runtime.graph.model import load_model, save_model
from ovdeploy.runtime.pipelines.training_free.axes import axes_of
from ovdeploy.runtime.pipelines.training_free.methods import method_of
from ovdeploy.runtime.stage.axes import parse_ranges
from support.tensorrt.world import World, install

STAGE = ["clip_image"]


def told(bundle, **how):
    """Builds one stage; what was told of it."""
    events = []

    def note(event, about, share, lasting=False):
        events.append((about, event, share))

    built = build_plans(bundle, stages=STAGE, progress=note, **how)
    return built, events


def test_a_plan_is_built_in_the_order_that_tensorrt_wants(world, bundle):
    built, events = told(bundle, options=PlanOptions(workspace=1 << 30))
    order = [
        *("Builder.__init__", "Builder.create_network", "OnnxParser.__init__", "OnnxParser.parse_from_file"),
        *("Builder.create_builder_config", "IBuilderConfig.clear_flag", "IBuilderConfig.set_memory_pool_limit"),
        *(
            "IBuilderConfig.create_timing_cache",
            "IBuilderConfig.set_timing_cache",
            "Builder.create_optimization_profile",
        ),
        *("IOptimizationProfile.set_shape",) * 3,
        *("IBuilderConfig.add_optimization_profile", "IBuilderConfig.progress_monitor="),
        *("Builder.build_serialized_network", "IBuilderConfig.get_timing_cache", "ITimingCache.serialize"),
        *("Runtime.__init__", "Runtime.deserialize_cuda_engine", "ICudaEngine.create_engine_inspector"),
        "EngineInspector.get_engine_information",
    ]
    assert world.record.names(*order) == order
    trt = world.trt
    assert world.record.arguments("Builder.create_network") == [
        {"flags": 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)}
    ], "strongly typed on both versions"
    assert world.record.arguments("IBuilderConfig.clear_flag") == [{"flag": trt.BuilderFlag.TF32}]
    assert world.record.names("IBuilderConfig.set_flag") == []
    assert world.record.arguments("IBuilderConfig.set_memory_pool_limit") == [
        {"pool": trt.MemoryPoolType.WORKSPACE, "pool_size": 1 << 30}
    ]
    assert world.record.arguments("IBuilderConfig.profiling_verbosity=") == [trt.ProfilingVerbosity.DETAILED]
    assert world.record.arguments("IBuilderConfig.builder_optimization_level=") == [3]
    shares = [share for stage, _, share in events if stage == "clip_image"]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1 and 0 < shares[3] < 1
    assert events[-1][1].startswith("built in ") and "2 fp32" in events[-1][1]
    assert [plan.layers for plan in built.stage("clip_image").plans] == [{"fp32": 2}]


def test_profiles_span_what_the_recipe_allows(world, bundle):
    told(bundle)
    side = bundle.stage("clip_image").contract.inputs[0].shape[-1]
    batch = bundle.recipe.parameters.window_batch
    shapes = {given["input"]: (given["min"], given["opt"], given["max"]) for given in
              world.record.arguments("IOptimizationProfile.set_shape")}  # fmt: skip
    assert shapes["windows"] == ((1, 3, side, side), (batch, 3, side, side), (batch, 3, side, side))
    assert shapes["mean_similarity"] == ((1,), (batch,), (batch,))
    assert set(shapes) == set(bundle.stage("clip_image").contract.input_names)


def test_ranges_hold_every_photo_of_the_recipe(bundle):
    """Photos of any shape: the windows and tokens that the plan of the photo gives lie within."""
    from ovdeploy.runtime.pipelines.training_free.plan import plan_photo

    recipe, dimensions = bundle.recipe, bundle.manifest.dimensions
    ranges = {name: axis.range for name, axis in axes_of(recipe, dimensions).items()}
    assert all(1 <= low <= usual <= high for low, usual, high in ranges.values())
    for hw in [(1, 1), (1, 4000), (4000, 1), (3000, 4000), (4000, 3000), (2048, 2048), (97, 5000), (777, 333)]:
        plan = plan_photo(hw, recipe.parameters, method_of(recipe), dimensions)
        sizes = dict(zip(("Wy", "Wx", "vh", "vw"), (*plan.windows_grid, *plan.sam.tokens_hw), strict=True))
        for axis, size in sizes.items():
            assert ranges[axis][0] <= size <= ranges[axis][2], (hw, axis)


def test_a_stage_of_fixed_shapes_gets_no_profile(world, bundle):
    build_plans(bundle, stages=["sam_encoder"])
    assert world.record.names("Builder.create_optimization_profile", "IBuilderConfig.add_optimization_profile") == []


def test_all_that_may_be_chosen_reaches_tensorrt_and_the_manifest(world, bundle):
    options = PlanOptions(
        optimization_level=5, tf32=True, version_compatible=True, hardware_compatibility="ampere-plus",
        ranges={"B": (2, 3, 4), "Q": (1, 2, 3)},
    )  # fmt: skip
    built, _ = told(bundle, options=options)
    trt = world.trt
    assert world.record.names("IBuilderConfig.clear_flag", "IBuilderConfig.set_memory_pool_limit") == []
    assert world.record.arguments("IBuilderConfig.set_flag") == [{"flag": trt.BuilderFlag.VERSION_COMPATIBLE}]
    assert world.record.arguments("IBuilderConfig.builder_optimization_level=") == [5]
    level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert world.record.arguments("IBuilderConfig.hardware_compatibility_level=") == [level]
    (plan,) = built.stage("clip_image").plans
    assert (plan.optimization_level, plan.tf32, plan.version_compatible) == (5, True, True)
    assert plan.hardware_compatibility == "ampere-plus" and plan.ranges == {"B": (2, 3, 4)}


def test_a_plans_name_and_manifest_tell_what_it_fits(world, bundle):
    built, _ = told(bundle)
    (plan,) = Bundle.load(built.path).stage("clip_image").plans
    digest = bundle.stage("clip_image").engines["fp32"].digest
    version = world.trt.__version__
    assert plan.file.path == f"clip_image.fp32.{digest[:12]}.trt{version}.nvidia-fake-9000.sm9.0.plan"
    assert (plan.tensorrt, plan.gpu, plan.compute_capability) == (version, "NVIDIA Fake 9000", "9.0")
    assert (plan.precision, plan.onnx_sha256) == ("fp32", digest)
    assert built.verified(plan.file).read_bytes().startswith(b'{"model"')
    name = plan_name("a", "fp16", Here("1", "ÄÖ/../x", "8.9"), "d" * 64, PlanOptions())
    assert name == "a.fp16.dddddddddddd.trt1.x.sm8.9.plan"


def test_the_timing_cache_stays_in_the_bundle_and_goes_into_the_next_build(world, bundle):
    told(bundle)
    cache = bundle.path / f"timing.trt{world.trt.__version__}.sm9.0.cache"
    assert TIMINGS.read(cache, cache.name) == b"+"
    build_plans(bundle, stages=["dino"])
    assert TIMINGS.read(cache, cache.name) == b"++"
    world.faults["cache"] = True  # another GPU's: a new one is begun
    build_plans(bundle, stages=["head"])
    assert TIMINGS.read(cache, cache.name) == b"+"
    refused, fresh = world.record.arguments("IBuilderConfig.set_timing_cache")[-2:]
    assert refused["ignore_mismatch"] is False and fresh["cache"].own.data == b""


def test_what_is_there_is_kept_unless_forced_damaged_or_built_otherwise(world, bundle):
    built, _ = told(bundle)
    again, events = told(built)
    assert events == [("clip_image", "unchanged", 1.0)] and again.manifest == built.manifest
    _, events = told(built, force=True)
    assert events[-1][1].startswith("built")
    built, events = told(built, options=PlanOptions(optimization_level=1))
    assert events[-1][1].startswith("built") and len(built.stage("clip_image").plans) == 1
    (built.path / built.stage("clip_image").plans[0].file.path).write_bytes(b"damaged")
    _, events = told(built, options=PlanOptions(optimization_level=1))
    assert events[-1][1].startswith("built")


def test_plans_of_several_machines_live_side_by_side(bundle, monkeypatch):
    for major, gpu in ((10, "A"), (11, "A"), (11, "B")):
        with monkeypatch.context() as patch:
            install(World(major, gpu=gpu), patch)
            bundle, _ = told(bundle)
    plans = bundle.stage("clip_image").plans
    assert [(plan.tensorrt.split(".")[0], plan.gpu) for plan in plans] == [("10", "A"), ("11", "A"), ("11", "B")]
    for plan in plans:
        here = Here(plan.tensorrt, plan.gpu, plan.compute_capability)
        assert choose_plan(bundle, "clip_image", "fp32", here) is plan


def test_exporting_again_keeps_plans_whose_graph_is_the_same(world, bundle, micro_networks):
    from ovdeploy.export.bundling.build import build_bundle

    built, _ = told(bundle)
    path = built.path / built.stage("clip_image").plans[0].file.path
    build_bundle(micro_networks, built.path)
    assert Bundle.load(built.path).stage("clip_image").plans == built.stage("clip_image").plans and path.is_file()
    entry = built.stage("clip_image")
    stale = msgspec.structs.replace(entry.plans[0], onnx_sha256="0" * 64)
    assert msgspec.structs.replace(entry, plans=(stale, *entry.plans)).fitting_plans() == entry.plans


def test_a_bundle_without_plans_reads_as_before(bundle):
    """An older ovdeploy refuses fields that it does not know."""
    assert "plans" not in json.loads((bundle.path / "bundle.json").read_text())["stages"]["dino"]


HERE = Here("10.16.1.11", "NVIDIA Fake 9000", "9.0")


@pytest.mark.parametrize(
    ("changes", "here", "reasons"),
    [
        ({}, HERE, []),
        ({}, HERE._replace(tensorrt="11.4.0.106"), ["built by TensorRT 10.16.1.11, here is 11.4.0.106"]),
        ({}, HERE._replace(tensorrt="10.16.2.0"), ["built by TensorRT 10.16.1.11, here is 10.16.2.0"]),
        ({}, HERE._replace(gpu="Other"), ["built on NVIDIA Fake 9000 (9.0), here is Other (9.0)"]),
        (
            {},
            HERE._replace(compute_capability="8.9"),
            ["built on NVIDIA Fake 9000 (9.0), here is NVIDIA Fake 9000 (8.9)"],
        ),
        ({"version_compatible": True}, HERE._replace(tensorrt="11.4.0.106"), []),
        ({"version_compatible": True}, HERE._replace(tensorrt="10.9.0.1"), ["built by TensorRT"]),
        ({"hardware_compatibility": "ampere-plus"}, HERE._replace(gpu="Other", compute_capability="8.6"), []),
        ({"hardware_compatibility": "ampere-plus"}, HERE._replace(compute_capability="10.3"), []),
        ({"hardware_compatibility": "ampere-plus"}, HERE._replace(compute_capability="7.5"), ["built on"]),
        ({"hardware_compatibility": "same-compute-capability"}, HERE._replace(gpu="Other"), []),
        ({"hardware_compatibility": "same-compute-capability"}, HERE._replace(compute_capability="8.9"), ["built on"]),
        ({"onnx_sha256": "0"}, HERE, ["its graph has been exported again since"]),
        ({"onnx_sha256": "0"}, Here("12", "X", "1.0"), ["its graph", "built by", "built on"]),
    ],
)
def test_what_fits_a_machine_and_why_not(bundle, changes, here, reasons, monkeypatch):
    install(World(10), monkeypatch)
    built, _ = told(bundle)
    plan = msgspec.structs.replace(built.stage("clip_image").plans[0], **changes)
    digest = built.stage("clip_image").engines["fp32"].digest
    came = misfit(plan, here, digest)
    assert len(came) == len(reasons)
    assert all(reason.startswith(expected) for reason, expected in zip(came, reasons, strict=True)), came


def test_loading_without_a_plan_names_the_command_that_builds_it(world, bundle):
    with pytest.raises(BundleError, match=r"no TensorRT plan of head in fp32.*ovdeploy build-plans .*--precision fp32"):
        plan_path(bundle, "head", "fp32", SessionOptions())
    with pytest.raises(BundleError, match="unknown precision 'fp16'"):
        plan_path(bundle, "head", "fp16", SessionOptions())


def test_loading_a_plan_of_another_machine_tells_what_differs_and_the_command(world, bundle):
    built, _ = told(bundle)
    world.cuda.gpu, world.cuda.capability = "NVIDIA Old", (7, 5)
    with pytest.raises(BundleError) as caught:
        plan_path(built, "clip_image", "fp32", SessionOptions())
    for words in ("NVIDIA Fake 9000 (9.0), here is NVIDIA Old (7.5)", f"ovdeploy build-plans --bundle {built.path}"):
        assert words in str(caught.value)


def test_an_altered_plan_is_refused(world, bundle):
    built, _ = told(bundle)
    path = plan_path(built, "clip_image", "fp32", SessionOptions())
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(BundleError, match="SHA-256 differs"):
        plan_path(built, "clip_image", "fp32", SessionOptions())


def test_plans_that_bring_host_code_are_opened_only_when_that_is_allowed(world, bundle):
    built, _ = told(bundle, options=PlanOptions(version_compatible=True))
    with pytest.raises(BundleError, match="--allow-host-code"):
        plan_path(built, "clip_image", "fp32", SessionOptions())
    assert plan_path(built, "clip_image", "fp32", SessionOptions(allow_host_code=True)).is_file()


def nothing_written(bundle):
    return not list(bundle.path.glob("*.plan")) and Bundle.load(bundle.path).manifest == bundle.manifest


def test_every_error_of_the_parser_is_told_with_its_node(world, bundle):
    world.faults["parse"] = [("Resize: cubic is not supported", 17), ("something general", -1)]
    with pytest.raises(ExportError) as caught:
        told(bundle)
    for words in ("clip_image.fp32.", "cubic is not supported at node 17 /blocks.3/Resize (Resize)", "; something"):
        assert words in str(caught.value)
    assert "general at node" not in str(caught.value) and nothing_written(bundle)
    world.faults["parse"] = []
    with pytest.raises(ExportError, match="does not say why"):
        told(bundle)


def test_nothing_from_the_builder_is_an_error_with_tensorrts_reason(world, bundle):
    world.faults["build"] = True
    with pytest.raises(ExportError, match=r"cannot build clip_image.*no tactic fits.*--workspace") as caught:
        told(bundle)
    assert "nobody should be told this" not in str(caught.value)
    assert nothing_written(bundle) and not world.cuda.streams


def test_a_plan_that_cannot_be_opened_is_not_kept(world, bundle):
    world.faults["deserialize"] = True
    with pytest.raises(ExportError, match=r"cannot open the plan that it has built.*not compatible"):
        told(bundle)
    assert nothing_written(bundle)


def test_ranges_that_tensorrt_refuses_are_told(world, bundle):
    world.faults["profile"] = True
    with pytest.raises(ExportError, match=r"refuses the ranges .*'B'"):
        told(bundle)


def test_an_input_that_gives_a_shape_by_its_values_is_refused(world, bundle):
    world.faults["shape_tensor"] = ["windows"]
    with pytest.raises(ExportError, match="windows gives a shape as values"):
        told(bundle)


def test_a_graph_of_another_stage_is_refused(world, bundle):
    entry = bundle.stage("clip_image")
    engine = msgspec.structs.replace(entry.engines["fp32"], files=bundle.stage("dino").engines["fp32"].files)
    stages = {**bundle.manifest.stages, "clip_image": msgspec.structs.replace(entry, engines={"fp32": engine})}
    write_manifest(bundle.path, msgspec.structs.replace(bundle.manifest, stages=stages))
    swapped = Bundle.load(bundle.path)
    with pytest.raises(ExportError, match=r"takes {'windows': 'float32'}, the contract of clip_image says"):
        told(swapped)


@pytest.mark.parametrize(("tensor", "expected"), [("Half", None), ("Float", "was to be fp16 and has no layer of it")])
def test_a_plan_of_another_precision_than_asked_for_is_an_error(world, bundle, tensor, expected):
    """Half asked for, float built: the silent failure of other toolkits."""
    entry = bundle.stage("clip_image")
    model = to_half(load_model(bundle.engine_path("clip_image", "fp32")), "fp16", ())
    save_model(model, bundle.path / "clip_image.fp16.onnx")
    engine = EngineEntry(
        files=(file_entry(bundle.path / "clip_image.fp16.onnx"),),
        fingerprint="half",
        census=take_census(model, entry.contract),
    )
    engines = {**entry.engines, "fp16": engine}
    stages = {**bundle.manifest.stages, "clip_image": msgspec.structs.replace(entry, engines=engines)}
    write_manifest(bundle.path, msgspec.structs.replace(bundle.manifest, stages=stages))
    half = Bundle.load(bundle.path)
    outputs = [{"Name": "t", "DataType": tensor}]
    world.faults["inspect"] = json.dumps({"Layers": [{"Name": "a", "Outputs": outputs}], "I/O Tensors": []})
    if expected is None:
        assert told(half, precision="fp16")[0].stage("clip_image").plans[0].layers == {"fp16": 1}
        return
    with pytest.raises(ExportError, match=expected):
        told(half, precision="fp16")
    assert not list(bundle.path.glob("*.plan"))


def test_an_interruption_during_a_build_stops_it_and_comes_out(world, bundle):
    def interrupt(event, about, share, lasting=False):
        if event == "Tactics":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_plans(bundle, stages=STAGE, progress=interrupt)
    assert nothing_written(bundle)


def test_what_was_built_before_an_error_is_kept(world, bundle):
    def fail(event, about, share, lasting=False):
        if about == "head":
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        build_plans(bundle, progress=fail)
    built = [stage for stage, entry in Bundle.load(bundle.path).manifest.stages.items() if entry.plans]
    assert built == ["text_encoder", "dino", "clip_image", "sam_encoder"]


def test_stages_and_precisions_that_are_not_there_are_refused(world, bundle):
    with pytest.raises(BundleError, match="unknown precision 'fp16'"):
        build_plans(bundle, precision="fp16")
    with pytest.raises(BundleError, match="unknown precision 'fp16'"):
        build_plans(bundle, precision="fp16", stages=["head"])
    with pytest.raises(BundleError, match="holds no nose stage"):
        build_plans(bundle, stages=["nose"])


@pytest.mark.parametrize(
    ("fault", "told"),
    [("driver", r"CUDA error 35.*install or update NVIDIA's driver"), ("none", "none found"), ("index", "no GPU 1")],
)
def test_without_a_usable_gpu_tensorrt_is_not_touched(world, bundle, fault, told):
    if fault == "driver":
        world.cuda.faults["cudaGetDeviceCount"] = 35
    world.cuda.devices = 0 if fault == "none" else 1
    with pytest.raises(EngineError, match=told):
        build_plans(bundle, device=1 if fault == "index" else 0)
    assert world.record.calls == []


def test_a_missing_tensorrt_or_cuda_python_is_told_by_name(bundle, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"needs 'tensorrt'.*ovdeploy\[tensorrt\]"):
        build_plans(bundle)
    monkeypatch.setitem(sys.modules, "tensorrt", World(11).trt)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(MissingExtraError, match=r"needs 'cuda-python'.*ovdeploy\[tensorrt\]"):
        build_plans(bundle)


@pytest.mark.parametrize(
    "wrong",
    [{"optimization_level": 6}, {"workspace": 0}, {"hardware_compatibility": "turing"}],
)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ParameterError):
        PlanOptions(**wrong)


@pytest.mark.parametrize("text", ["B", "B=", "B=x", "B=1:2", "B=0:1:2", "B=3:2:4", "B=1:4:3", "B=1:2:3:4", "Z=1"])
def test_ranges_that_are_none_are_refused(text):
    with pytest.raises(ParameterError):
        parse_ranges((text,), {"B": (1, 2, 3)})


def test_ranges_are_read_and_an_axis_without_one_is_told(world, bundle):
    assert parse_ranges(("B=2:3:4", "Q=7"), {"B": (1, 1, 1), "Q": (1, 1, 1)}) == {"B": (2, 3, 4), "Q": (7, 7, 7)}
    contract = bundle.stage("clip_image").contract
    assert list(contract.ranges) == ["B"]


def test_progress_is_one_fraction_of_nested_phases():
    phases = Phases()
    assert (phases.innermost, phases.fraction) == ("", 0.0)
    phases.start("Building", None, 4)
    phases.step("Building", 0)
    phases.start("Tactics", "Building", 10)
    phases.step("Tactics", 4)
    assert phases.innermost == "Tactics" and phases.fraction == pytest.approx((1 + 0.5) / 4)
    phases.finish("Tactics")
    phases.step("Building", 1)
    assert phases.innermost == "Building" and phases.fraction == 0.5
    phases.step("unheard of", 3)
    phases.finish("Building")
    assert phases.fraction == 0.0
