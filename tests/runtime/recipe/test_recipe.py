"""Recipes are validated strictly, and every refusal names what would have been right."""

import msgspec
import numpy as np
import pytest

from ovdeploy.runtime import ParameterError, Parameters, RecipeError, available_recipes, load_recipe
from ovdeploy.runtime.pipelines.training_free.methods import METHODS
from ovdeploy.runtime.pipelines.training_free.pipeline import PIPELINE
from ovdeploy.runtime.recipe import parameters as recipe_parameters
from ovdeploy.runtime.recipe.recipe import Recipe, with_optional

PARAMETERS = Parameters()
BAKED = PIPELINE.baked
OPTIONAL = [use.name for use in PIPELINE.stages if use.purpose]
NAMES = Parameters.__struct_fields__
FIELDS = [name for name in Recipe.__struct_fields__ if name != "models"]  # in a file they are tables by role


def with_overrides(parameters, overrides):
    return recipe_parameters.with_overrides(parameters, overrides, BAKED)


TRIDENT = """
method = "trident"
[clip]
model = "tiny"
[dino]
model = "tiny"
[sam]
model = "tiny"
"""
MASKCLIP = 'method = "maskclip"\n[clip]\nmodel = "tiny"\n'


def written(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    return str(caught.value)


def test_there_are_recipes_and_every_one_loads():
    assert {"tiny", "trident-b16"} <= set(available_recipes())
    for name, path in available_recipes().items():
        by_name, by_path = load_recipe(name), load_recipe(str(path))
        assert by_name == by_path
        assert by_name.name == name
        assert by_name.description
        if by_name.pipeline == "training-free":
            assert {"text_encoder", "clip_image", "head"} <= set(by_name.stages)


def test_a_recipe_of_the_users_own_takes_its_name_from_the_file_unless_it_says_one(tmp_path):
    assert load_recipe(written(tmp_path, TRIDENT)).name == "own"
    assert load_recipe(written(tmp_path, 'name = "näme"\n' + TRIDENT)).name == "näme"


def test_a_recipe_without_parameters_has_the_defaults(tmp_path):
    assert load_recipe(written(tmp_path, TRIDENT)).parameters == PARAMETERS


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        (MASKCLIP, ("text_encoder", "clip_image", "head")),
        (MASKCLIP + "[sam]\nmodel = 'tiny'", ("text_encoder", "clip_image", "sam_encoder", "head", "sam_decoder")),
        (TRIDENT, ("text_encoder", "dino", "clip_image", "sam_encoder", "head", "sam_decoder")),
    ],
)
def test_the_stages_follow_from_the_method_and_the_models(tmp_path, text, stages):
    assert load_recipe(written(tmp_path, text)).stages == stages


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ["method"]),
        ("method = ", ["not a TOML file"]),
        ("\x00", ["not a TOML file"]),
        ('method = "trident"', ["clip"]),
        ("metod = 'trident'\n" + TRIDENT, ["'metod'", "Did you mean 'method'?", *PIPELINE.roles, *FIELDS]),
        (TRIDENT.replace("[sam]", "[sammy]"), ["'sammy'", "Did you mean 'sam'?", "dino"]),
        (TRIDENT.replace("[sam]\nmodel", "[sam]\nmodl"), ["[sam]", "'modl'", "Did you mean 'model'?", "pretrained"]),
        (TRIDENT + "[parameters]\nstrid = 1", ["[parameters]", "'strid'", "Did you mean 'stride'?", *NAMES]),
        (TRIDENT + "[tolerances]\nlabel = 1.0", ["[tolerances]", "'label'", "Did you mean 'labels'?", "relative"]),
        (TRIDENT.replace("trident", "tridnt"), ["'tridnt'", "Did you mean 'trident'?", *METHODS]),
        (TRIDENT.replace("[sam]\nmodel", "[sam]\nweights"), ["model", "sam"]),
        (TRIDENT + "[parameters]\nstride = 'wide'", ["int", "str", "stride"]),
        (TRIDENT + "[parameters]\nstride = 2.5", ["int", "float", "stride"]),
        (TRIDENT + "[parameters]\nstride = true", ["int", "bool", "stride"]),
        (TRIDENT + "[parameters]\nrefine = 1", ["bool", "int", "refine"]),
        (TRIDENT.replace("[sam]", "[parameters]\nstride = 0\n[sam]"), [">= 1", "stride"]),
        (TRIDENT + "[parameters]\nregion_threshold = 1.1", ["<= 1", "region_threshold"]),
        (TRIDENT + "[parameters]\nlogit_scale = nan", ["logit_scale"]),
        (TRIDENT + "[parameters]\nlogit_scale = inf", ["logit_scale"]),
        (TRIDENT + "[parameters]\niou_threshold = nan", ["iou_threshold"]),
        (TRIDENT + "[tolerances]\nlabels = 0", ["labels"]),
        ("optional_stages = ['sam_prompt']\n" + TRIDENT, ["'sam_prompt'", *OPTIONAL]),
        ("optional_stages = ['sam_prompt_decoder']\n" + MASKCLIP, ["sam_prompt_decoder needs a [sam] table"]),
        (TRIDENT.replace('[clip]\nmodel = "tiny"', 'clip = "tiny"'), ["clip", "str"]),
        (TRIDENT.replace('[dino]\nmodel = "tiny"', ""), ["'trident' needs a [dino] table"]),
        (TRIDENT.replace('[sam]\nmodel = "tiny"', ""), ["'trident' needs a [sam] table"]),
    ],
)
def test_a_recipe_that_cannot_be_understood_is_refused_with_what_is_valid(tmp_path, text, told):
    message = refusal(written(tmp_path, text))
    assert [words for words in [*told, "own.toml"] if words not in message] == [], message


def test_an_unknown_recipe_is_answered_with_those_there_are():
    message = refusal("tridnt-b16")
    assert "Did you mean 'trident-b16'?" in message
    assert all(name in message for name in available_recipes())


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "own.toml").write_bytes(b"\xff\xfe\x00")
    assert "not a TOML file" in refusal(tmp_path / "own.toml")
    assert "it is a folder" in refusal(tmp_path)


def test_optional_stages_are_asked_for_by_name_and_only_where_the_models_allow_them():
    recipe = load_recipe("trident-b16")
    assert not recipe.optional_stages and "sam_prompt_decoder" not in recipe.stages
    asked = with_optional(recipe, "sam_prompt_decoder", "sam_prompt_decoder")
    assert asked.optional_stages == ("sam_prompt_decoder",) and asked.stages == recipe.stages
    with pytest.raises(RecipeError, match=r"sam_prompt_decoder needs a \[sam\]"):
        with_optional(load_recipe("maskclip-b16"), "sam_prompt_decoder")


@pytest.mark.parametrize("overrides", [None, {}])
def test_no_overrides_change_nothing(overrides):
    assert with_overrides(PARAMETERS, overrides) is PARAMETERS


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("stride", 112, 112),
        ("stride", np.int64(112), 112),
        ("stride", np.uint8(112), 112),
        ("logit_scale", 50, 50.0),
        ("logit_scale", np.float32(2.5), 2.5),
        ("logit_scale", np.int32(2), 2.0),
        ("min_area", 0, 0.0),
        ("refine", False, False),
        ("refine", np.bool_(False), False),
        ("iou_threshold", -1.5, -1.5),
        ("probability_threshold", 0, 0.0),
        ("probability_threshold", 1.0, 1.0),
    ],
)
def test_an_override_takes_the_parameters_own_type_and_leaves_the_others(name, value, expected):
    changed = with_overrides(PARAMETERS, {name: value})
    assert getattr(changed, name) == expected
    assert type(getattr(changed, name)) is type(expected)
    assert changed == msgspec.structs.replace(PARAMETERS, **{name: expected})
    assert Parameters() == PARAMETERS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stride", 0),
        ("stride", -3),
        ("stride", 2.5),
        ("stride", "112"),
        ("stride", True),
        ("stride", None),
        ("stride", np.array([112, 112])),
        ("logit_scale", 0.0),
        ("logit_scale", True),
        ("logit_scale", float("nan")),
        ("logit_scale", float("inf")),
        ("iou_threshold", float("nan")),
        ("probability_threshold", -0.01),
        ("probability_threshold", np.float32(1.01)),
        ("refine", 1),
        ("refine", "true"),
    ],
)
def test_a_value_that_a_parameter_cannot_take_is_refused_by_name(name, value):
    with pytest.raises(ParameterError, match=name):
        with_overrides(PARAMETERS, {name: value})


@pytest.mark.parametrize("name", ["strid", "", "STRIDE", "stride ", "__class__", 3])
def test_an_unknown_parameter_is_answered_with_the_valid_ones(name):
    with pytest.raises(ParameterError) as caught:
        with_overrides(PARAMETERS, {name: 1})
    message = str(caught.value)
    assert f"unknown parameter {name!r}" in message
    assert all(valid in message for valid in NAMES)
    assert ("Did you mean 'stride'?" in message) == (name in ("strid", "stride "))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crop", 224),
        ("similarity_beta", 1.3),
        ("similarity_gamma", 1),
        ("as_published", False),
        ("crop", [336, 336]),
        ("crop", np.array([336, 336])),
    ],
)
def test_a_baked_parameter_is_refused_with_the_reason_and_the_way_out(name, value):
    with pytest.raises(ParameterError) as caught:
        with_overrides(PARAMETERS, {name: value})
    for words in (name, BAKED[name], repr(getattr(PARAMETERS, name)), "export-engines"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("crop", 336), ("crop", np.int64(336)), ("similarity_gamma", 3), ("similarity_beta", np.float32(1.2))],
)
def test_a_baked_parameter_may_be_given_as_it_is(name, value):
    assert with_overrides(PARAMETERS, {name: value}) == PARAMETERS


def test_every_baked_parameter_is_one():
    assert set(BAKED) <= set(NAMES)


@pytest.mark.parametrize(
    ("method", "tables", "given", "expected"),
    [
        ("trident", "[dino]\nmodel='tiny'\n[sam]\nmodel='tiny'\n", "", True),
        ("trident", "[dino]\nmodel='tiny'\n[sam]\nmodel='tiny'\n", "refine = false", False),
        ("proxyclip", "[dino]\nmodel='tiny'\n[sam]\nmodel='tiny'\n", "", False),
        ("s2clip", "[dino]\nmodel='tiny'\n", "", False),
        ("clip", "", "", False),
    ],
)
def test_refinement_follows_the_method_unless_the_recipe_says(tmp_path, method, tables, given, expected):
    path = tmp_path / "r.toml"
    path.write_text(f"method='{method}'\n[clip]\nmodel='tiny'\n{tables}[parameters]\n{given}\n")
    assert load_recipe(path).parameters.refine is expected


@pytest.mark.parametrize("same", [("point", "box", "mask"), ["point", "box", "mask"]])
def test_baked_lists_may_be_repeated_but_not_changed(same):
    assert with_overrides(PARAMETERS, {"prompts": same, "affinity_kind": "affinity"}) == PARAMETERS
    with pytest.raises(ParameterError, match="prompts"):
        with_overrides(PARAMETERS, {"prompts": ["point"]})
    with pytest.raises(ParameterError, match="affinity_kind"):
        with_overrides(PARAMETERS, {"affinity_kind": "cosine"})


def test_the_table_int8_is_data_with_defaults(tmp_path):
    text = TRIDENT + '[int8]\nkeep = ["first_block"]\nsmoothing = [0.7]\n[int8.blocks]\ndino = ["vit.blocks.3"]\n'
    int8 = load_recipe(written(tmp_path, text)).int8
    assert int8.keep == ("first_block",) and int8.blocks == {"dino": ("vit.blocks.3",)} and int8.photos == 16
    assert load_recipe(written(tmp_path, TRIDENT)).int8.keep == ("last_block",)


@pytest.mark.parametrize(
    ("line", "told"),
    [("kept = []", "unknown key 'kept'. Did you mean 'keep'"), ("smoothing = []", "length"), ("labels = 2", "<= 1"),
     ('ranges = ["widest"]', "widest"), ("weight_bits = [4]", "4")],
)  # fmt: skip
def test_a_table_int8_that_cannot_be_understood_is_refused(tmp_path, line, told):
    assert told in refusal(written(tmp_path, f"{TRIDENT}[int8]\n{line}\n"))
