"""NVIDIA's own parser and builder on our graphs: TensorRT-RTX builds plans here, without a GPU.

Every stage of `tiny`, of the miniatures of every way of making features, and one stage in every precision. All
precisions of all of them, and the models at full size: `python tests/measure/rtx.py`.
"""

from __future__ import annotations

import shutil
from dataclasses import replace

import msgspec
import numpy as np
import onnx
import pytest

from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Bundle, BundleError, EngineError, load_recipe
from ovdeploy.runtime.backends.options import SessionOptions
from ovdeploy.runtime.backends.tensorrt import cuda, libraries
from ovdeploy.runtime.backends.tensorrt.build import build_plan
from ovdeploy.runtime.backends.tensorrt.library import Here
from ovdeploy.runtime.backends.tensorrt.options import PlanOptions
from ovdeploy.runtime.backends.tensorrt.session import open_rtx_plan
from ovdeploy.runtime.backends.tensorrt.targets import TAKES, TARGETS
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.bundle.plan_building import build_plans
from ovdeploy.runtime.bundle.plans import choose_plan
from ovdeploy.runtime.errors import ExportError, ParameterError
from ovdeploy.runtime.graph.islands import STANDARD, StageIslands
from ovdeploy.runtime.graph.model import save_model
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.reporting import silent
from support.extractors import MODELS, perturbed
from support.graphs import contract_of, graph
from support.precisions import graph_in
from support.tensorrt.world import FakeCuda

pytest.importorskip("tensorrt_rtx_bindings")

RTX = "tensorrt-rtx"
LIBRARY = libraries.LIBRARIES[RTX]

FEATURES = ["clip_image", "dino", "head"]
"""Stages that differ between methods."""


def built(networks, folder, stages=None, **how):
    """Plans in FP16 of some stages."""
    build_bundle(networks, folder, stages=stages)
    build_bundle(networks, folder, conversion=HalfConversion(networks, "fp16"), stages=stages)
    return build_plans(Bundle.load(folder), precision="fp16", stages=stages, library=RTX, **how)


def check_plans(bundle, stages):
    for stage in stages:
        (plan,) = bundle.stage(stage).plans
        assert plan.layers["fp16"] > 0 and plan.library == RTX and not plan.gpu and plan.file.bytes > 10_000
        assert bundle.verified(plan.file).read_bytes()[:4] == b"vtrt"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    networks = Networks.load(load_recipe("tiny"))
    folder = tmp_path_factory.mktemp("rtx") / "tiny"
    return built(networks, folder, [use.name for use in networks.recipe.uses])


def test_every_stage_of_tiny_is_built_in_fp16(tiny):
    assert set(tiny.manifest.stages) == {use.name for use in tiny.recipe.uses}, "the optional ones too"
    check_plans(tiny, tiny.manifest.stages)


@pytest.mark.parametrize("method", METHODS)
def test_every_way_of_making_features_is_built(method, micro_networks, tmp_path):
    networks = replace(micro_networks, recipe=msgspec.structs.replace(micro_networks.recipe, method=method))
    recipe = networks.recipe
    stages = [stage for stage in FEATURES if stage in recipe.possible_stages]
    check_plans(built(networks, tmp_path / "b", stages), stages)


@pytest.mark.parametrize("recipe", ["mobile-sam-micro", "efficientvit-sam-micro", "edgetam-micro", "sam2-micro"])
def test_small_promptable_models_are_built(recipe, tmp_path):
    networks = Networks.load(load_recipe(recipe))
    check_plans(built(networks, tmp_path / "b"), networks.recipe.stages)


@pytest.mark.parametrize("name", ["micro_video", "edgetam_memory"])
def test_the_stages_of_tracking_are_built(name, request, tmp_path):
    """EdgeTAM's other stages are like SAM 2's, or built above; `tiny-sam2` has the operators of `micro_video`, in other
    sizes."""
    folder = shutil.copytree(request.getfixturevalue(f"{name}_bundle"), tmp_path / "b")
    bundle = Bundle.load(folder)
    networks = Networks.load(bundle.recipe)
    stages = list(bundle.manifest.stages)
    build_bundle(networks, folder, conversion=HalfConversion(networks, "fp16"), stages=stages)
    check_plans(build_plans(Bundle.load(folder), precision="fp16", stages=stages, library=RTX), stages)


def test_the_detector_is_built(micro_grounded_networks, tmp_path):
    """SAM's stages are built elsewhere."""
    stages = ["text_encoder", "detector_image"]
    check_plans(built(micro_grounded_networks, tmp_path / "b", stages), stages)


def test_the_dense_pipeline_is_built(micro_dense_networks, tmp_path):
    check_plans(built(micro_dense_networks, tmp_path / "b"), micro_dense_networks.recipe.stages)


def test_the_other_head_of_the_dense_pipeline_is_built(micro_escnet_networks, tmp_path):
    stages = ["escnet", "escnet_blocks"]
    check_plans(built(micro_escnet_networks, tmp_path / "b", stages), stages)


@pytest.mark.parametrize("extractor", [*MODELS, "sam"])
def test_everything_that_can_stand_in_dinos_place_is_built(extractor, micro_networks, tmp_path):
    model = micro_networks.models["sam"] if extractor == "sam" else perturbed(MODELS[extractor]())
    recipe = micro_networks.recipe
    parameters = msgspec.structs.replace(recipe.parameters, crop=112, stride=48)
    recipe = msgspec.structs.replace(recipe, parameters=parameters)
    networks = replace(micro_networks, recipe=recipe, models={**micro_networks.models, "dino": model})
    check_plans(built(networks, tmp_path / "b", ["dino"]), ["dino"])


# Precisions


STORED = {"fp32": 4, "fp16": 2, "bf16": 2, "int8w": 1, "int8": 1, "fp8": 1}
"""Bytes of a weight."""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """One product, large enough that its weights are most of a plan."""
    weight = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    model = graph("(float[B, 64, 1024] x) => (float[B, 64, 1024] y)", "y = MatMul(x, w)", w=weight)
    path = tmp_path_factory.mktemp("product") / "head.onnx"
    save_model(model, path)
    return path, contract_of(model)


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "current"])
@pytest.mark.parametrize("precision", STORED)
def test_what_a_target_takes_is_what_the_builder_says(product, precision, target, tmp_path):
    """The table of precisions by target, held against the builder; weights are stored in what the precision says."""
    path, contract = product
    other = tmp_path / "head.onnx"
    save_model(graph_in(precision, path, StageIslands()), other)
    options = PlanOptions(targets=() if target == "ampere-plus" else (target,), ranges={"B": (1, 2, 4)})
    if precision in TAKES[target]:
        plan = build_plan(LIBRARY, other, contract, options, b"", silent).plan
        assert 1024 * 1024 * STORED[precision] < len(plan) < 1024 * 1024 * (STORED[precision] + 0.6)
        return
    with pytest.raises(ParameterError, match="does not take"):
        LIBRARY.check(options, precision)
    if target == "ampere-plus":  # the builder takes FP8 there without a word, and the plan could not run on Ampere
        assert precision == "fp8"
        return
    with pytest.raises(ExportError, match=f"TensorRT-RTX cannot build head .*(Turing|{target})"):
        build_plan(LIBRARY, other, contract, options, b"", silent)


@pytest.mark.parametrize("precision", STORED)
def test_one_stage_is_built_in_every_precision(tiny, precision, tmp_path):
    contract = tiny.stage("dino").contract
    path = tmp_path / "dino.onnx"
    save_model(graph_in(precision, tiny.engine_path("dino", "fp32"), STANDARD), path)
    options = PlanOptions(targets=("sm89",), ranges=contract.ranges)
    made = build_plan(LIBRARY, path, contract, options, b"", silent)
    assert made.layers[{"int8w": "int8"}.get(precision, precision)] > 0 and not made.timings


# Planted faults


@pytest.fixture
def folder(tiny, tmp_path):
    return Bundle.load(shutil.copytree(tiny.path, tmp_path / "b"))


INPUTS = "(float[N, 8] x) => (float[N, 8] y)"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("z = Det(x) y = Add(x, z)", r"head: TensorRT-RTX's parser refuses model.onnx: .*Det_z \(Det\)"),
        (
            "h = Cast<to=10>(x) z = Gemm(h, one) y = Cast<to=1>(z)",
            r"head: TensorRT-RTX's parser refuses model.onnx: .* Gemm_z \(Gemm\)",
        ),
    ],
    ids=["operator", "mixed types"],
)
def test_what_the_parser_refuses_is_told_with_stage_and_node(body, told, tmp_path):
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 20]> g {INPUTS} {{ {body} }}')
    for node in model.graph.node:
        node.name = f"{node.op_type}_{node.output[0]}"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((8, 8), np.float32), "one"))
    onnx.save(model, tmp_path / "model.onnx")
    contract = contract_of(graph(INPUTS, "y = Neg(x)"))
    with pytest.raises(ExportError, match=told):
        build_plan(LIBRARY, tmp_path / "model.onnx", contract, PlanOptions(ranges={"N": (1, 2, 4)}), b"", silent)


def test_a_dynamic_axis_without_a_range_is_told(folder):
    contract = folder.stage("head").contract
    with pytest.raises(ParameterError, match=r"head: no range is known for axis .*--range"):
        build_plan(LIBRARY, folder.engine_path("head", "fp16"), contract, PlanOptions(), b"", silent)


def test_a_range_that_the_graph_does_not_take_is_told(tmp_path):
    model = graph("(float[N, 8] x, float[M, 8] z) => (float[N, 8] y)", "y = Add(x, z)")
    save_model(model, tmp_path / "head.onnx")
    options = PlanOptions(ranges={"N": (2, 2, 2), "M": (3, 3, 3)})
    with pytest.raises(ExportError, match=r"cannot build head from head.onnx\. TensorRT says: .*Add_y"):
        build_plan(LIBRARY, tmp_path / "head.onnx", contract_of(model), options, b"", silent)


def here(capability):
    return Here(str(LIBRARY.load().__version__), "Some GPU", capability, RTX)


def test_a_plan_for_another_target_a_stale_graph_and_a_cut_plan_are_refused(folder):
    only = PlanOptions(targets=("sm89",))
    planned = build_plans(folder, precision="fp16", stages=["head"], library=RTX, options=only)
    assert choose_plan(planned, "head", "fp16", here("8.9")).targets == ("sm89",)
    with pytest.raises(BundleError, match=r"head.*built for ampere-plus, here is Some GPU \(7.5\).*--target sm75"):
        choose_plan(planned, "head", "fp16", here("7.5"))
    entry = planned.stage("head")
    other = msgspec.structs.replace(entry.engines["fp16"], files=entry.engines["fp32"].files)
    stages = {**planned.manifest.stages, "head": msgspec.structs.replace(entry, engines={"fp16": other})}
    stale = Bundle(planned.path, msgspec.structs.replace(planned.manifest, stages=stages))
    with pytest.raises(BundleError, match="its graph has been exported again since"):
        choose_plan(stale, "head", "fp16", here("8.9"))
    plan = entry.plans[-1]
    path = planned.path / plan.file.path
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BundleError, match=r"has 1000 bytes, the manifest says"):
        planned.verified(plan.file)


def test_fp8_for_ampere_is_refused_before_the_builder_is_asked(folder):
    with pytest.raises(ParameterError, match=r"sm86 .*does not take fp8; those that do: sm89"):
        LIBRARY.check(PlanOptions(targets=("sm86",)), "fp8")


# The real runtime, without a driver


def test_without_a_driver_a_plan_is_refused_in_our_words(tiny):
    with pytest.raises(EngineError, match=r"no NVIDIA GPU can be used here"):
        open_stage(tiny, "head", "fp16", RTX)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda plan: plan, r"TensorRT-RTX cannot open .*CUDA driver version is insufficient"),
        (lambda plan: plan[: len(plan) // 2], r"TensorRT-RTX cannot open .*header.size"),
        (lambda plan: b"x" * 4096, r"TensorRT-RTX will not open .*: it is malformed.*--backend tensorrt-rtx"),
        (lambda plan: b"", r"TensorRT-RTX will not open .*: it is malformed"),
    ],
    ids=["whole", "cut", "another file", "empty"],
)
def test_the_real_runtime_refuses_in_our_words(tiny, tmp_path, monkeypatch, damage, told):
    """A GPU that is a fake, and NVIDIA's own runtime, which finds no driver."""
    world = FakeCuda()
    monkeypatch.setattr(cuda, "import_cuda", lambda extra="": world)
    path = tmp_path / "head.plan"
    path.write_bytes(damage(tiny.verified(tiny.stage("head").plans[0].file).read_bytes()))
    with pytest.raises(BundleError, match=told):
        open_rtx_plan(path, tiny.stage("head").contract, SessionOptions())
    assert not world.memory and not world.streams, "all is given back"
