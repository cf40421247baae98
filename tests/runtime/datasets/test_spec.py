"""The benchmarks' descriptions: classes in the labels' order, and words that a vocabulary can be made from."""

import numpy as np
import pytest

from ovdeploy.runtime import DatasetError, Vocabulary
from ovdeploy.runtime.datasets import available_specs, load_spec
from ovdeploy.runtime.datasets.spec import parse_values

COUNTS = {
    "voc20": 20,
    "voc21": 21,
    "context59": 59,
    "context60": 60,
    "coco-object": 81,
    "coco-stuff": 171,
    "ade20k": 150,
    "cityscapes": 19,
}
WITH_BACKGROUND = {"voc21", "context60", "coco-object"}
GOOD = """
title = "two"
source = "nobody"
classes = ["sky", "cup"]
photos = ["{}.jpg"]
[[labels]]
path = "{}.png"
values = "0-1"
ignored = "255"
"""


def test_the_eight_benchmarks_are_there():
    assert set(available_specs()) == set(COUNTS)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_a_benchmark_has_its_classes_and_a_vocabulary_can_be_made_of_its_words(name, count):
    spec = load_spec(name)
    assert len(spec.classes) == len(set(spec.classes)) == len(spec.entries) == count
    queries = sum(len(entry.split(";")) for entry in spec.entries)
    vocabulary = Vocabulary(spec.entries, np.eye(queries), background=spec.background)
    assert len(vocabulary) == count
    assert vocabulary.background == (name in WITH_BACKGROUND) == (spec.classes[0] == "background")


@pytest.mark.parametrize(
    ("name", "index", "label"),
    [
        ("voc20", 14, "person"),
        ("voc21", 15, "person"),
        ("context59", 36, "person"),
        ("context60", 37, "person"),
        ("coco-object", 1, "person"),
        ("coco-object", 80, "toothbrush"),
        ("coco-stuff", 79, "toothbrush"),
        ("coco-stuff", 80, "banner"),
        ("coco-stuff", 170, "wood"),
        ("ade20k", 12, "person"),
        ("ade20k", 149, "flag"),
        ("cityscapes", 11, "person"),
        ("cityscapes", 18, "bicycle"),
    ],
)
def test_classes_stand_at_their_published_indices(name, index, label):
    assert load_spec(name).classes[index] == label


def test_benchmarks_with_and_without_background_agree_on_all_else():
    for small, large in (("voc20", "voc21"), ("context59", "context60")):
        assert load_spec(large).classes[1:] == load_spec(small).classes
        assert load_spec(large).entries[1:] == load_spec(small).entries
    assert load_spec("coco-object").classes[1:] == load_spec("coco-stuff").classes[:80]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [("", []), ("7", [7]), ("0-2", [0, 1, 2]), ("5, 1-2, 9", [5, 1, 2, 9]), ("3-3", [3]), ("9-8", [])],
)
def test_values_are_read(values, numbers):
    assert parse_values(values) == numbers


def test_a_description_of_the_users_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD + '[words]\ncup = "cup; mug"\n')
    spec = load_spec(path)
    assert (spec.name, spec.entries, spec.background) == ("mine", ("sky", "cup; mug"), False)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "[", "not a TOML file"),
        ('title = "two"', "", "title"),
        ("values", "valeus", "valeus"),
        ('"{}.jpg"', '"photos.jpg"', "does not describe"),
        ('"sky", "cup"', '"cup", "cup"', "twice"),
        ('"0-1"', '"0-2"', "3 values for 2 classes"),
        ('"0-1"', '"one"', "does not describe"),
        ('"255"', '"1"', "stands twice"),
        ('"255"', '"70000"', "above 65535"),
        ('ignored = "255"', 'others = "cpu"', "Did you mean 'cup'"),
        ('ignored = "255"', 'others = "cup"', "2 values for 1 classes"),
        ('"255"', '"255"\n[words]\nscy = "sky"', "Did you mean 'sky'"),
    ],
)
def test_a_description_that_is_wrong_is_refused_with_the_reason(tmp_path, old, new, told):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1) if old else new)
    with pytest.raises(DatasetError, match=told):
        load_spec(path)


def test_an_unknown_benchmark_is_answered_with_the_known_ones():
    with pytest.raises(DatasetError, match=r"Did you mean 'voc21'.*ade20k"):
        load_spec("voc12")
