"""Commands that messages advise: each is one that the command line takes, and acts on the bundle that was given."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import msgspec
import pytest

from ovdeploy.export.commands import export_engines
from ovdeploy.runtime import Bundle, BundleError
from ovdeploy.runtime.bundle import advice
from ovdeploy.runtime.bundle.bundle import Provenance
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.recipe.recipe import PresetNote
from support.bundles import engine_file

PLACES = ("output", "bundle")
"""Parameters that name a bundle."""


def parsed(line: str) -> dict:
    """The values that click reads from an advised command."""
    name, *words = shlex.split(line)
    if name == "export-engines":
        return export_engines.make_context(name, words).params
    assert name == "ovdeploy", line
    command = main.get_command(None, words[0])
    assert command is not None, line
    return command.make_context(words[0], words[1:]).params


def acts_on(line: str, path: Path) -> bool:
    return path in [parsed(line).get(place) for place in PLACES]


@pytest.fixture
def odd(micro_bundle, tmp_path):
    """A bundle in a folder whose name a shell would take apart."""
    return Bundle.load(shutil.copytree(micro_bundle, tmp_path / "my bundle's"))


def test_exporting_again_names_recipe_folder_and_what_else_there_was(odd):
    line = advice.exporting(odd.path, odd.manifest, "--stages", "head", "--force")
    given = parsed(line)
    assert (given["recipe"], given["output"], given["stages"], given["force"]) == ("micro", odd.path, "head", True)
    assert given["pairs"] == (), "weights are the recipe's own"
    note = PresetNote(name="voc21", source="a paper")
    recipe = msgspec.structs.replace(odd.recipe, name="mine", preset=note)
    given = parsed(advice.exporting(odd.path, msgspec.structs.replace(odd.manifest, recipe=recipe)))
    assert (given["recipe"], given["preset"]) == ("mine.toml", "voc21")


def test_weights_that_are_not_the_recipes_are_asked_for_again(odd):
    known = odd.manifest.provenance
    other = {
        "clip": Provenance(model="micro", source="file:my clip.safetensors", sha256=known["clip"].sha256),
        "dino": Provenance(model="micro", source="random:9", sha256=known["dino"].sha256),
        "sam": known["sam"],
    }
    manifest = msgspec.structs.replace(odd.manifest, provenance=other)
    assert parsed(advice.exporting(odd.path, manifest))["pairs"] == ("clip=my clip.safetensors", "dino=random:9")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8w", "int8", "fp8"])
def test_each_precision_has_a_command_that_makes_it(odd, precision):
    line = advice.making(odd.path, odd.manifest, precision)
    assert parsed(line)["precision"] == precision and acts_on(line, odd.path)


@pytest.mark.parametrize("name", ["trident-b16", "elsewhere"])
def test_where_there_is_no_bundle_the_command_makes_one_there(tmp_path, name):
    with pytest.raises(BundleError) as caught:
        Bundle.load(tmp_path / name)
    line = str(caught.value).partition("Make one with: ")[2]
    assert parsed(line)["recipe"] == (name if name == "trident-b16" else "RECIPE") and acts_on(line, tmp_path / name)


def test_adding_a_stage_names_those_that_are_there_lest_they_be_left_out(odd):
    named = parsed(advice.adding(odd.path, odd.manifest, "clip_layers"))["stages"].split(",")
    assert named == [*odd.manifest.stages, "clip_layers"]


def test_plans_and_signatures_are_made_in_the_bundle(odd):
    for line in (advice.building_plans(odd.path, "--precision", "fp16"), advice.signing(odd.path)):
        assert acts_on(line, odd.path)


def test_what_a_damaged_bundle_says_can_be_run(odd):
    engine_file(odd.path, "head").write_bytes(b"damaged")
    with pytest.raises(BundleError) as damaged:
        odd.engine_path("head", "fp32")
    with pytest.raises(BundleError) as missing:
        odd.stage("clip_layers")
    for caught in (damaged, missing):
        line = re.search(r"with: (export-engines .*)$", str(caught.value))
        assert line is not None and acts_on(line[1], odd.path), caught.value
