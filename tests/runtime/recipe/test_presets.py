"""Presets: the published settings as data, what they change, and what a bundle that has one does with it."""

import shutil

import msgspec
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import (
    Bundle,
    BundleError,
    Parameters,
    RecipeError,
    Segmenter,
    VocabularyError,
    available_recipes,
    load_recipe,
)
from ovdeploy.runtime.bundle.bundle import write_manifest
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.datasets import load_spec
from ovdeploy.runtime.evaluation.predictors import entries_for
from ovdeploy.runtime.pipelines.dense.models import MODELS
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.recipe.presets import all_settings, available_presets, settings_for, with_preset
from support.samples import draw_photo

EIGHT = ("ade20k", "cityscapes", "coco-object", "coco-stuff", "context59", "context60", "voc20", "voc21")
WITH_BACKGROUND = {"voc21", "context60", "coco-object"}


OF_CATSEG = ("ade20k", "context59", "voc20", "voc21")
"""The benchmarks that its authors tell of."""


def test_there_are_the_eight_benchmarks_and_settings_for_every_method():
    assert tuple(sorted(available_presets())) == EIGHT
    for name, settings in all_settings().items():
        assert tuple(sorted(settings.benchmarks)) == (OF_CATSEG if name == "catseg" else EIGHT)
    told = [name for settings in all_settings().values() for name in settings.about]
    published = [name for name, row in MODELS.items() if name.endswith(("vit_b", "vit_l"))]
    assert len(published) == 4
    assert sorted(told) == sorted([*METHODS, *published]), "each method and each published model once"


@pytest.mark.parametrize(
    ("method", "preset", "expected"),
    [  # as the sources say them
        ("trident", "voc20", {"short_side": 336, "stride": 112, "affinity_factor": 0.0, "region_threshold": 0.2}),
        ("trident", "voc21", {"short_side": 448, "stride": 224, "probability_threshold": 0.2, "affinity_factor": 1.2}),
        ("trident", "coco-stuff", {"short_side": 448, "region_threshold": 0.05, "probability_threshold": 0.0}),
        ("trident", "ade20k", {"short_side": 576, "keep_negative": False, "region_threshold": 0.05}),
        ("trident", "cityscapes", {"short_side": 688, "affinity_factor": 3.0, "keep_negative": False,
                                   "region_threshold": 0.1, "sam_halves": True}),
        ("proxyclip", "voc21", {"short_side": 336, "crop": 336, "stride": 112, "probability_threshold": 0.2}),
        ("proxyclip", "cityscapes", {"short_side": 448, "crop": 224, "stride": 112}),
        ("sclip", "voc21", {"short_side": 336, "logit_scale": 65.0, "probability_threshold": 0.1}),
        ("clearclip", "voc21", {"short_side": 448, "crop": 448, "logit_scale": 50.0, "probability_threshold": 0.5}),
        ("naclip", "cityscapes", {"short_side": 560, "crop": 224, "stride": 112}),
        ("scclip", "coco-object", {"short_side": 336, "logit_scale": 55.0, "probability_threshold": 0.35}),
        ("catseg", "voc20", {"short_side": 640, "max_long_side": 2560, "side": 640, "crop": 384, "stride": 256,
                             "pooling": 1, "first_synonym": True}),
        ("escnet", "voc21", {"side": 640, "crop": 384, "first_synonym": False}),
    ],
)  # fmt: skip
def test_settings_are_those_of_the_source(method, preset, expected):
    recipe = with_preset(load_recipe(f"{method}-b16"), preset)
    assert {name: getattr(recipe.parameters, name) for name in expected} == expected


def test_a_trained_models_classes_have_its_authors_words():
    """voc20b.json has 59 names, of which those from the 21st on count as background; pc59.json has none of ours."""
    voc, context = (with_preset(load_recipe("catseg-l14"), name) for name in ("voc21", "context59"))
    background, *things = voc.classes
    assert voc.background and tuple(things) == load_spec("voc20").classes and "boat" in things
    assert sorted(background.split("; ")) == sorted({*context.classes} - {*things})
    assert set(context.classes) ^ set(load_spec("context59").classes) == {"table", "diningtable"}
    assert with_preset(load_recipe("catseg-b16"), "voc20").preset.assumed == ()
    assert with_preset(load_recipe("escnet-b16"), "voc20").preset.assumed == ("everything",)


def test_what_its_authors_do_not_tell_of_is_refused():
    with pytest.raises(
        RecipeError, match=r"no settings for cityscapes .* catseg_vit_b; there are for ade20k, context59"
    ):
        with_preset(load_recipe("catseg-b16"), "cityscapes")
    with pytest.raises(RecipeError, match=r"no presets for the models tiny_catseg, tiny; .*catseg_vit_b"):
        with_preset(load_recipe("tiny-catseg-sam"), "voc20")


def test_evaluation_asks_in_the_words_of_the_presets_authors():
    spec, recipe = load_spec("voc20"), with_preset(load_recipe("catseg-b16"), "voc20")
    assert entries_for(spec, recipe) == spec.classes != spec.entries
    assert entries_for(spec, load_recipe("catseg-b16")) == entries_for(spec, None) == spec.entries
    other = load_spec("voc21")
    assert entries_for(other, recipe) == other.entries


@pytest.mark.parametrize("recipe", sorted(name for name in available_recipes() if load_recipe(name).method))
@pytest.mark.parametrize("preset", EIGHT)
def test_every_preset_fits_every_recipe(recipe, preset):
    plain = load_recipe(recipe)
    made = with_preset(plain, preset)
    spec, settings = load_spec(preset), settings_for(plain)
    assert made.classes == spec.entries and made.background is (preset in WITH_BACKGROUND)
    assert made.preset.name == preset and made.preset.source
    changed = {*settings.parameters, *settings.benchmarks[preset].parameters}
    for name in set(Parameters.__struct_fields__) - changed:
        assert getattr(made.parameters, name) == getattr(plain.parameters, name), name
    for patch in (14, 16):  # of every CLIP in the recipes
        assert made.parameters.crop % patch == 0 and made.parameters.stride % patch == 0
    assert made.parameters.stride <= made.parameters.crop
    assert made.parameters.probability_threshold == 0 or made.background, "there is a class 0 to send pixels to"
    kept = {field: getattr(made, field) for field in ("name", "method", "models", "tolerances")}
    assert kept == {field: getattr(plain, field) for field in kept}


def test_what_was_assumed_is_named():
    for settings in all_settings().values():
        for benchmark in settings.benchmarks.values():
            assert {*benchmark.assumed} <= {*Parameters.__struct_fields__}
    assert with_preset(load_recipe("trident-b16"), "context60").preset.assumed == (
        "probability_threshold", "region_threshold")  # fmt: skip
    assert with_preset(load_recipe("trident-b16"), "voc21").preset.assumed == ()
    assert with_preset(load_recipe("s2clip-b16"), "voc21").preset.assumed == ("everything",)


def test_an_unknown_preset_or_method_is_answered_with_those_there_are(monkeypatch):
    with pytest.raises(RecipeError, match=r"'voc22'.*Did you mean 'voc2\d'\?"):
        with_preset(load_recipe("micro"), "voc22")
    with pytest.raises(RecipeError, match=r"no presets for the method mine; .*trident"):
        settings_for(msgspec.structs.replace(load_recipe("micro"), method="mine"))


@pytest.fixture
def preset_bundle(micro_bundle, tmp_path):
    """The tiny bundle as if it had been exported with a preset; its engines keep their sizes."""
    folder = shutil.copytree(micro_bundle, tmp_path / "b")
    manifest = Bundle.load(folder).manifest
    made = with_preset(manifest.recipe, "voc21")
    recipe = msgspec.structs.replace(made, parameters=manifest.recipe.parameters)
    write_manifest(folder, msgspec.structs.replace(manifest, recipe=recipe))
    return folder


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_bundle_with_a_preset_knows_its_classes(preset_bundle, micro_bundle):
    with Segmenter.load(preset_bundle) as segmenter:
        vocabulary = segmenter.vocabulary(templates=["{}"])
        assert vocabulary.synonyms[0][:2] == ("sky", "wall") and len(vocabulary) == 21 and vocabulary.background
        assert not segmenter.vocabulary(["cup"], templates=["{}"]).background
    with Segmenter.load(micro_bundle) as segmenter, pytest.raises(VocabularyError, match="no classes of its own"):
        segmenter.vocabulary()


def test_segment_takes_the_bundles_classes_unless_others_are_named(preset_bundle, micro_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest = Bundle.load(preset_bundle).manifest
    text = msgspec.structs.replace(manifest.text, templates=("{}",))
    write_manifest(preset_bundle, msgspec.structs.replace(manifest, text=text))  # for speed: 1 instead of 80
    Image.fromarray(draw_photo((40, 50))).save("photo.png")
    result = invoke("segment", "photo.png", "--bundle", preset_bundle, "--output", "out")
    assert result.exit_code == 0, result.stderr
    told = msgspec.json.decode((tmp_path / "out" / "photo.json").read_bytes())
    assert [entry["name"] for entry in told["classes"]][:3] == ["sky", "aeroplane", "bicycle"]
    result = invoke("segment", "photo.png", "--bundle", preset_bundle, "--output", "out", "--classes", "cup, table")
    told = msgspec.json.decode((tmp_path / "out" / "photo.json").read_bytes())
    assert [entry["name"] for entry in told["classes"]] == ["cup", "table"]
    result = invoke("segment", "photo.png", "--bundle", micro_bundle)
    assert result.exit_code == 2 and "classes of its own" in result.stderr


def test_inspect_says_which_preset_and_what_was_assumed(preset_bundle):
    told = " ".join(invoke("inspect", preset_bundle, "--no-verify").stdout.split())
    assert "preset voc21, from Trident" in told and "21 classes unless --classes is given" in told
    assert "the first is the background" in told and "assumed" not in told


def test_what_is_missing_is_made_with_the_preset(preset_bundle):
    with pytest.raises(BundleError, match=r"export-engines micro --preset voc21 --output .* --stages .*,clip_layers"):
        Bundle.load(preset_bundle).stage("clip_layers")


def test_a_recipe_can_have_classes_of_its_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('method = "maskclip"\nclasses = ["cup; mug", "table"]\n[clip]\nmodel = "tiny"\n')
    assert load_recipe(path).classes == ("cup; mug", "table")
    path.write_text('method = "maskclip"\nclasses = ["cup", "cup"]\n[clip]\nmodel = "tiny"\n')
    with pytest.raises(RecipeError, match=r"own\.toml: 'cup' stands twice"):
        load_recipe(path)
