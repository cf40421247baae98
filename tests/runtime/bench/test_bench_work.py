"""The work of a photo, against what the pipeline really asks its engines."""

import numpy as np
import pytest

from ovdeploy.runtime import Bundle, ParameterError
from ovdeploy.runtime.bench.plan import RunnerSpec, product_specs, rival_spec, runners_of, whole_precisions
from ovdeploy.runtime.bench.work import product_flops
from ovdeploy.runtime.bundle.opening import open_stage
from ovdeploy.runtime.graph.flops import node_flops
from ovdeploy.runtime.graph.model import load_model
from ovdeploy.runtime.pipelines.sweeps import Base
from ovdeploy.runtime.pipelines.training_free.methods import method_of
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.pipelines.training_free.segmenter import TrainingFreeSegmenter
from ovdeploy.runtime.pipelines.training_free.sweeps import SWEEPS as AXES
from ovdeploy.runtime.recipe.parameters import with_overrides
from ovdeploy.runtime.words.vocabulary import random_vocabulary as random_classes
from support.samples import draw_photo, random_vocabulary


@pytest.fixture(scope="module")
def opened(micro_bundle):
    return Bundle.load(micro_bundle)


@pytest.fixture(scope="module")
def recorded(opened):
    """A segmenter, and the sizes of every call of its engines."""
    calls = []
    sessions = {stage: open_stage(opened, stage, "fp32") for stage in opened.recipe.running_stages}
    for stage, session in sessions.items():

        def run_unchecked(feeds, into=None, *, session=session, run=session.run_unchecked, stage=stage):
            calls.append((stage, session.contract.check_feeds(feeds)))
            return run(feeds, into)

        session.run_unchecked = run_unchecked
    with TrainingFreeSegmenter(opened.manifest, sessions) as segmenter:
        yield segmenter, calls


@pytest.mark.parametrize("hw", [(1, 1), (90, 121), (40, 300)])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"window_batch": 2, "prompt_batch": 3, "min_area": 0, "region_threshold": 0.0},
        {"sam_halves": True},
        {"refine": False, "sam_halves": True},
        {"refine": False},
    ],
)
def test_the_calls_are_those_of_the_pipeline(opened, recorded, hw, parameters):
    segmenter, calls = recorded
    calls.clear()
    vocabulary = random_vocabulary(opened.manifest.dimensions.embedding)
    with segmenter.engines.counted() as told:
        result = segmenter.segment(draw_photo(hw), vocabulary, parameters=parameters)
    assert [(stage, call) for stage, made in told.items() for call in made] == sorted(
        calls, key=lambda call: list(told).index(call[0])
    ), "every call, with the sizes of its axes"
    settings = with_overrides(opened.recipe.parameters, parameters)
    plan = plan_photo(hw, settings, method_of(opened.recipe), opened.manifest.dimensions)
    windows = plan.windows_grid[0] * plan.windows_grid[1]
    assert sum(call["B"] for call in told["dino"]) == sum(call["B"] for call in told["clip_image"]) == windows
    assert len(told["head"]) == 1 + settings.sam_halves
    assert len(told["sam_encoder"]) == len(told["head"]) + (settings.refine and settings.sam_halves)
    assert sum(call["R"] for call in told.get("sam_decoder", ())) == len(result.regions)
    with segmenter.engines.counted() as nothing:
        pass
    assert nothing == {} and all(session.listener is None for session in segmenter.engines.values())


def test_products_are_counted_call_by_call(opened):
    """Twice the windows, twice the work; and less than all operations, since only products count."""
    one = product_flops(opened, {"dino": [{"B": 1}], "sam_decoder": [{"R": 2}]})
    more = product_flops(opened, {"dino": [{"B": 1}, {"B": 1}, {"B": 2}], "sam_decoder": [{"R": 4}]})
    assert more["dino"] == 4 * one["dino"] > 0
    assert one["sam_decoder"] < more["sam_decoder"] <= 2 * one["sam_decoder"], "some of it does not depend on regions"
    side = opened.recipe.parameters.crop
    model = load_model(opened.path / opened.stage("dino").engines["fp32"].files[0].path)
    assert one["dino"] < sum(node_flops(model, {"windows": (1, 3, side, side)}).values())


def test_every_backend_and_precision_is_a_runner(opened, monkeypatch):
    monkeypatch.setattr("ovdeploy.runtime.bench.plan.available_backends", lambda: ["onnxruntime", "tensorrt"])
    how = RunnerSpec(label="", bundle=opened.path, threads=3)
    assert [each.label for each in runners_of(opened, how)] == ["onnxruntime fp32", "tensorrt fp32"]
    (one,) = runners_of(opened, how, ["tensorrt@fp32", "tensorrt"])
    assert (one.backend, one.precision, one.threads) == ("tensorrt", "fp32", 3)
    with pytest.raises(ParameterError, match="Did you mean 'onnxruntime'"):
        runners_of(opened, how, ["onnxruntim"])
    assert whole_precisions(opened) == ["fp32"]


def test_rivals_are_references_or_bundles(opened):
    how = RunnerSpec(label="", bundle=opened.path, weights={"clip": "random:1"}, parameters={"refine": False})
    torch = rival_spec("torch", how)
    assert (torch.kind, torch.weights, torch.parameters) == ("torch", {"clip": "random:1"}, {"refine": False})
    other = rival_spec(f"{opened.path}@fp16", how)
    assert (other.kind, other.bundle, other.precision) == ("engines", opened.path, "fp16")
    assert rival_spec(str(opened.path), how).precision == "fp32"
    for wrong in ("torc", "engines", "nowhere@fp16"):
        with pytest.raises(ParameterError, match="Or give a bundle"):
            rival_spec(wrong, how)


def test_products_are_measured_in_the_runners_precisions():
    assert [spec.label for spec in product_specs(["fp32", "fp16"], None)] == [
        "numpy fp32",
        "openvino fp32",
        "torch fp32",
    ]
    assert "torch bf16" in [spec.label for spec in product_specs(["fp32", "bf16"], 1)]


@pytest.fixture
def base(opened):
    vocabulary = random_classes(6, opened.manifest.dimensions.embedding)
    return Base(draw_photo((90, 121)), vocabulary, opened.recipe.parameters, opened.manifest)


def test_random_classes_are_unit_and_grow_at_the_end():
    few, many = random_classes(3, 16), random_classes(7, 16, background=True)
    np.testing.assert_allclose(np.linalg.norm(many.embeddings, axis=1), 1, atol=1e-6)  # float32
    np.testing.assert_array_equal(few.embeddings, many.embeddings[:3])
    assert many.background and not few.background and len(many) == 7


def test_points_lie_where_they_say(base):
    sizes = AXES["size"].requests(base)
    assert [at for at, _ in sizes] == [r.photo.shape[0] * r.photo.shape[1] / 1e6 for _, r in sizes]
    assert sizes[2][1].photo is base.photo
    for at, request in AXES["windows"].requests(base):
        settings = with_overrides(base.parameters, request.parameters)
        plan = plan_photo(base.hw, settings, method_of(base.manifest.recipe), base.manifest.dimensions)
        assert at == plan.windows_grid[0] * plan.windows_grid[1]
    for at, request in AXES["classes"].requests(base):
        assert at == len(request.vocabulary)
    areas = [request.parameters["min_area"] for at, request in AXES["regions"].requests(base) if at is None]
    assert areas == sorted(areas, reverse=True) and areas[-1] >= base.hw[0] * base.hw[1] / 4 / 1280, (
        "at most 1280 regions"
    )


def test_every_point_can_be_run(base, segmenter):
    for axis in AXES.values():
        for _, request in axis.requests(base)[1:4]:
            segmenter.segment(request.photo, request.vocabulary, parameters=request.parameters)


def test_regions_need_refinement(base):
    without = Base(base.photo, base.vocabulary, with_overrides(base.parameters, {"refine": False}), base.manifest)
    with pytest.raises(ParameterError, match="needs refinement"):
        AXES["regions"].requests(without)
