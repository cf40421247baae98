"""Overlays: written, read again, laid over a recipe and over a bundle; and what is no overlay."""

import pytest
from click.testing import CliRunner

from ovdeploy.runtime import ParameterError, Segmenter, load_parameters, load_recipe
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.recipe.parameters_file import save_parameters, with_parameters

VALUES = {"logit_scale": 28.3, "min_area": 0, "refine": False, "prompts": ["box"]}


def test_what_is_written_is_read(tmp_path):
    save_parameters(tmp_path / "a.toml", VALUES, ["fitted", "to nothing"])
    assert load_parameters(tmp_path / "a.toml") == VALUES
    assert (tmp_path / "a.toml").read_text().startswith("# fitted\n# to nothing\n[parameters]\n")
    save_parameters(tmp_path / "a.toml", {})
    assert load_parameters(tmp_path / "a.toml") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "got nothing"),
        ("[parameters", "not a TOML file"),
        ("parameters = 3", r"expected a table \[parameters\]"),
        ('method = "trident"\n[parameters]\nstride = 3', "a recipe is none"),
        ("[parameters]\nstrid = 3", "Did you mean 'stride'"),
        ("[parameters]\niou_threshold = 'high'", "iou_threshold"),
        ("[parameters]\nprobability_threshold = 1.5", "<= 1"),
    ],
)
def test_what_is_no_overlay_is_refused_with_its_path(tmp_path, text, told):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ParameterError, match=told) as caught:
        load_parameters(tmp_path / "a.toml")
    assert "a.toml" in str(caught.value)
    with pytest.raises(ParameterError, match="cannot be read"):
        load_parameters(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "values", [{"box_threshold": 0.3, "nms_threshold": 0.4}, {"side": 128, "first_synonym": False}]
)
def test_overlays_of_other_pipelines_are_read(tmp_path, values):
    save_parameters(tmp_path / "a.toml", values)
    assert load_parameters(tmp_path / "a.toml") == values


@pytest.mark.parametrize(
    ("text", "told"),
    [("box_threshold = 1.5", "<= 1"), ("box_threshold = 0.5\nnms_treshold = 0.5", "Did you mean 'nms_threshold'")],
)
def test_the_pipeline_that_knows_most_of_the_names_says_what_is_wrong(tmp_path, text, told):
    (tmp_path / "a.toml").write_text(f"[parameters]\n{text}")
    with pytest.raises(ParameterError, match=told):
        load_parameters(tmp_path / "a.toml")


def test_an_overlay_over_a_recipe_changes_its_own_values_and_no_other(tmp_path):
    recipe = load_recipe("micro")
    save_parameters(tmp_path / "a.toml", {"iou_threshold": 0.5, "crop": 64})
    changed = with_parameters(recipe, tmp_path / "a.toml").parameters
    assert (changed.iou_threshold, changed.crop) == (0.5, 64)
    assert changed.min_area == recipe.parameters.min_area == 40


def test_an_overlay_over_a_bundle_holds_and_must_not_change_what_is_baked(micro_bundle, tmp_path):
    save_parameters(tmp_path / "a.toml", {"logit_scale": 7.0})
    with Segmenter.load(micro_bundle, parameters=load_parameters(tmp_path / "a.toml")) as opened:
        assert opened.parameters.logit_scale == 7.0
    save_parameters(tmp_path / "a.toml", {"crop": 64})
    with pytest.raises(ParameterError, match="shape of the dino"):
        Segmenter.load(micro_bundle, parameters=load_parameters(tmp_path / "a.toml"))


def test_segment_takes_an_overlay_and_set_goes_before_it(micro_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_parameters("a.toml", {"probability_threshold": 0.9, "refine": False})
    arguments = ["segment", "none.jpg", "--bundle", str(micro_bundle), "--classes", "cup, table", "--parameters"]
    seen = []
    monkeypatch.setattr(Segmenter, "load", lambda *args, parameters, **kwargs: seen.append(parameters) or 1 / 0)
    for more in ((), ("--set", "refine=true")):
        CliRunner().invoke(main, [*arguments, "a.toml", *more])
    assert seen == [
        {"probability_threshold": 0.9, "refine": False},
        {"probability_threshold": 0.9, "refine": True},
    ]
    missing = CliRunner().invoke(main, [*arguments, "none.toml"])
    assert missing.exit_code == 1 and "none.toml" in missing.stderr
