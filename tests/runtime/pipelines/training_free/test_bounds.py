"""Sizes without bounds: what follows from parameters and a photo's shape is counted before it is allocated."""

import json
import os
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import BundleError, OvdeployError, ParameterError, PhotoError, load_recipe
from ovdeploy.runtime.answers.result import Result
from ovdeploy.runtime.bundle.bundle import MANIFEST, Bundle
from ovdeploy.runtime.geometry.dimensions import Dimensions
from ovdeploy.runtime.geometry.limits import REGIONS
from ovdeploy.runtime.labelling.coarse import coarse_mask
from ovdeploy.runtime.pipelines.batch import positive
from ovdeploy.runtime.pipelines.training_free.methods import method_of
from ovdeploy.runtime.pipelines.training_free.plan import plan_photo
from ovdeploy.runtime.recipe.parameters import Parameters, with_overrides
from ovdeploy.runtime.recipe.presets import available_presets, with_preset
from ovdeploy.runtime.stage.contract import Axis, StageContract, TensorSpec
from support.samples import ROOT, random_vocabulary
from support.segmenting import faked

LONG = "9" * 5_000
B16 = Dimensions(
    sam_side=1024, sam_grid=64, clip_patch=16, feature_grid=(42, 42), embedding=512, context_length=77
)  # DINO's finest grid
ORDINARY = [(10_000, 10_000), (12_500, 8_000), (3_000, 30_000), (1, 1), (1, 65_535)]


def test_every_plan_is_within_bounds_or_refused_in_words_in_2_gb():
    """In a process that may hold no more, each case in five seconds: no hang, no MemoryError, no ZeroDivisionError."""
    run = subprocess.run(
        [sys.executable, "-m", "support.bounds", "0", "120"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT / "tests")])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    came = json.loads(run.stdout)["came"]
    assert min(came.get(what, 0) for what in ("planned", "PhotoError", "ParameterError", "BundleError")) >= 5, came


@pytest.mark.parametrize("name", ["trident-b16", "proxyclip-b16", "sclip-b16", "scclip-b16"])  # a preset file each
def test_published_settings_take_ordinary_photos_up_to_100_megapixels(name):
    recipe = load_recipe(name)
    settings = {recipe.parameters}
    for preset in available_presets():
        try:
            settings.add(with_preset(recipe, preset).parameters)
        except OvdeployError:
            continue  # there are none for this method
    grid = (42, 42) if method_of(recipe).proxy else (21, 21)
    dimensions = msgspec.structs.replace(B16, feature_grid=grid)
    for parameters in sorted(settings, key=repr):
        for hw in ORDINARY:
            plan_photo(hw, parameters, method_of(recipe), dimensions)
    plan_photo.cache_clear()


@pytest.mark.parametrize(
    ("values", "hw", "told"),
    [
        ({"short_side": 8192, "max_long_side": 65_535}, (1_500, 65_500), "short_side or max_long_side"),
        ({"short_side": 2048, "stride": 16}, (2_000, 2_000), "larger stride"),
        ({"short_side": 336, "max_long_side": 65_535, "stride": 16}, (65_500, 300), "larger stride"),
        ({"short_side": 1_000, "max_long_side": 32_768, "stride": 112}, (32_768, 336), "larger stride"),
    ],
)
def test_a_refusal_says_how_many_what_the_limit_is_and_what_to_change(values, hw, told):
    recipe = load_recipe("proxyclip-b16")
    with pytest.raises(PhotoError, match=rf"would be [0-9,]+ (pixels|windows|bytes|numbers), the limit is .*{told}"):
        plan_photo(hw, with_overrides(recipe.parameters, values), method_of(recipe), B16)


NUMBERS = [name for name, value in msgspec.structs.asdict(Parameters()).items() if type(value) in (int, float)]


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1e300, 10**30, int("9" * 4_000), -1])
def test_every_number_among_the_parameters_has_a_range(name, value):
    if name == "iou_threshold" and value == -1:
        return  # within its range
    with pytest.raises(ParameterError, match=name):
        with_overrides(Parameters(), {name: value})
    with pytest.raises(ParameterError, match=name):
        with_overrides(Parameters(), {name: value}, {name: "it is a constant"})


@pytest.mark.parametrize(
    "value",
    [0, -1, 257, 10**30, int("9" * 4_000)],
    ids=lambda value: f"{value:.0e}"[:12] if abs(value) < 1e40 else "long",
)
def test_more_workers_than_threads_can_be_are_refused(value):
    with pytest.raises(ParameterError, match=r"workers=.*1 to 256"):
        positive("workers", value)


@pytest.mark.parametrize("number", [LONG, "-" + LONG, "1e999", "nan", "inf", "0", "99999999999"])
@pytest.mark.parametrize("place", ["[parameters]\nshort_side", "[clip]\nmodel = 'x'\ndepth", "[tolerances]\nrelative"])
def test_numbers_of_a_recipe_are_refused_in_words(number, place, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(f"method = 'clip'\n{place} = {number}\n")
    with pytest.raises(OvdeployError):
        load_recipe(path)


@pytest.mark.parametrize("number", [LONG, "1e400", "-1", "16777217", "1000000000000", "0.5", "NaN", "true"])
def test_numbers_of_a_manifest_are_refused_in_words(number, micro_bundle, tmp_path):
    """Each number of it in turn: sizes of the models, of axes, of shapes, and parameters."""
    text = (micro_bundle / MANIFEST).read_bytes()
    data = msgspec.json.decode(text)
    contract = data["stages"]["dino"]["contract"]
    places = [
        *((data["dimensions"], name) for name in ("sam_side", "sam_grid", "clip_patch", "embedding", "context_length")),
        (data["dimensions"]["feature_grid"], 0),
        *((contract["axes"]["B"], name) for name in ("smallest", "usual", "largest", "example")),
        (contract["inputs"][0]["shape"], 1),
        *((data["recipe"]["parameters"], name) for name in ("short_side", "stride", "window_batch", "max_pixels")),
    ]
    for holder, key in places:
        before, holder[key] = holder[key], "@"
        made = msgspec.json.encode(data).replace(b'"@"', number.encode())
        holder[key] = before
        (tmp_path / MANIFEST).write_bytes(made)
        if key == "max_pixels" and number in ("16777217",):
            continue
        with pytest.raises(BundleError):
            Bundle.load(tmp_path)


@pytest.mark.parametrize("sizes", [(0, 4), (64, 0), (64, 3), (4, 64)])
def test_sizes_of_sam_that_contradict_each_other_are_refused_before_anything_divides_by_them(sizes):
    plain = {**msgspec.to_builtins(B16), "sam_side": sizes[0], "sam_grid": sizes[1]}
    with pytest.raises(msgspec.ValidationError, match="sam_side"):
        msgspec.convert(plain, Dimensions)


def test_the_sizes_of_an_axis_are_in_order():
    with pytest.raises(msgspec.ValidationError, match="not in order"):
        msgspec.convert({"smallest": 3, "usual": 2, "largest": 4, "example": 2}, Axis)


def test_room_for_an_output_is_counted_before_it_is_made():
    spec = TensorSpec(name="y", dtype="float32", shape=("B", 1 << 24, 1 << 24), layout="any", range="any")
    contract = StageContract(stage="head", inputs=(spec,), outputs=(spec,))
    from ovdeploy.runtime import EngineError
    from ovdeploy.runtime.backends.fake import FakeSession

    with pytest.raises(EngineError, match=r"y of shape .* bytes, the limit is 2,000,000,000"):
        FakeSession(contract, dict).empty("y", B=4)


def test_more_regions_than_sam_can_be_asked_about_are_refused_and_the_batch_goes_on(micro_bundle, monkeypatch):
    from ovdeploy.runtime.geometry.limits import Limit
    from ovdeploy.runtime.labelling import refinement

    segmenter, _ = faked(micro_bundle)
    vocabulary = random_vocabulary(segmenter.manifest.dimensions.embedding)
    photos = [np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8) for seed in range(3)]
    everything = {"iou_threshold": -10.0, "min_area": 0, "region_threshold": 0.0}
    monkeypatch.setattr(refinement, "REGIONS", Limit(2, REGIONS.of, REGIONS.why))
    for error in segmenter.segment_many(photos, vocabulary, parameters=everything):
        assert isinstance(error, PhotoError)
        assert "min_area" in str(error) and "regions, the limit is 2" in str(error)


def test_too_many_names_for_so_wide_a_photo_are_refused_before_the_rows_are_made():
    from ovdeploy.runtime.geometry.photo_tables import PhotoTables
    from ovdeploy.runtime.geometry.sizes import bilinear_matrix

    tables = PhotoTables.of(bilinear_matrix(1, 2), bilinear_matrix(1, 65_535))
    starts = np.arange(4_000)
    with pytest.raises(PhotoError, match=r"4,000 names .* 65535 pixels wide.*fewer classes"):
        coarse_mask(np.zeros((4_000, 1, 1), np.float32), tables, starts, logit_scale=1.0, probability_threshold=0.0)


def test_a_legend_of_thousands_of_classes_stays_small():
    names = tuple(f"class {index}" for index in range(3_000))
    mask = np.arange(3_000, dtype=np.uint16).reshape(50, 60)
    photo = np.zeros((50, 60, 3), np.uint8)
    begun = time.perf_counter()
    drawn = Result(mask, mask, np.ones(mask.shape, np.float32), names, (), {}, photo).overlay()
    assert drawn.height < 50 * 300 and time.perf_counter() - begun < 60
