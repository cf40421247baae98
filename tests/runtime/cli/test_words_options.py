"""Classes on the command line: names with commas, a dataset's, COCO's; templates."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ovdeploy.runtime.cli import main
from ovdeploy.runtime.cli.words import _split, class_entries
from ovdeploy.runtime.datasets import load_spec
from ovdeploy.runtime.errors import DatasetError, VocabularyError
from support.samples import draw_photo


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("cup; mug, table", ["cup; mug", "table"]),
        ('"salt, pepper"; seasoning, table', ["salt, pepper; seasoning", "table"]),
        ('cup ;"a, b" , "c"', ["cup; a, b", "c"]),
        ('"say ""hi"", twice", x', ['say "hi", twice', "x"]),
        ('a 5" pipe, 3" pipe', ['a 5" pipe', '3" pipe']),
        ("cup,,table", ["cup", "", "table"]),
        ("", [""]),
        ("  ", [""]),
        ("a\nb,\u2003c", ["a\nb", "c"]),
    ],
)
def test_quotation_marks_keep_commas_in_names(listed, expected):
    assert _split(listed, "--classes") == expected


@pytest.mark.parametrize("listed", ['"cup, table', 'a, "b" c, d', '"a""', 'x; "', " " * 50_000 + '"a'])
def test_a_quotation_mark_without_another_is_refused(listed):
    with pytest.raises(VocabularyError, match="quotation mark"):
        _split(listed, "--classes")


@given(st.lists(st.lists(st.text(st.characters(exclude_characters=";")).map(str.strip), min_size=1), min_size=1))
def test_every_name_can_be_written(classes):
    listed = ", ".join("; ".join('"' + word.replace('"', '""') + '"' for word in words) for words in classes)
    assert _split(listed, "--classes") == ["; ".join(words) for words in classes]


def test_a_file_may_have_names_with_commas(tmp_path):
    (tmp_path / "names.txt").write_text('"salt, pepper", seasoning\ntable\n')
    assert class_entries(None, tmp_path / "names.txt") == ["salt, pepper; seasoning", "table"]


def coco(path, *categories):
    path.write_text(json.dumps({"images": [{"id": 1, "x": [1.5]}], "categories": categories, "annotations": []}))
    return str(path)


def test_classes_of_a_dataset_and_of_coco(tmp_path):
    assert class_entries(None, None, "voc21") == list(load_spec("voc21").entries)
    path = coco(tmp_path / "a.json", {"id": 7, "name": "dog", "supercategory": "animal"}, {"id": 2, "name": "cup"})
    assert class_entries(None, None, path) == ["cup", "dog"]


NO_CATEGORIES = ["", "[]", "{}", "[" * 5000, "\udcff", '{"categories": 3}', '{"categories": []}',
                 '{"categories": [{"id": 1}]}', '{"categories": [{"id": "a", "name": 1}]}']  # fmt: skip


@pytest.mark.parametrize("content", NO_CATEGORIES)
def test_a_file_without_categories_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(VocabularyError, match=r"a\.json.*categories"):
        class_entries(None, None, str(tmp_path / "a.json"))


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="Did you mean 'voc21'"):
        class_entries(None, None, "voc211")
    with pytest.raises(VocabularyError, match="cannot be read"):
        class_entries(None, None, str(tmp_path / "missing.json"))


@pytest.fixture
def segment(tmp_path, micro_bundle, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(draw_photo((40, 52))).save("a.png")

    def call(*more):
        given_options = ("segment", "a.png", "--bundle", str(micro_bundle), "--json", *more)
        return CliRunner().invoke(main, list(given_options))

    return call


def test_the_options_reach_the_vocabulary(segment, tmp_path):
    result = segment("--classes", '"salt, pepper"; seasoning, table', "--template", "{}", "--template", "a {} there")
    assert result.exit_code == 0, result.stderr
    assert [entry["name"] for entry in json.loads(result.stdout)["classes"]] == ["salt, pepper", "table"]
    assert "skipped" not in json.loads(segment("--classes", '"salt, pepper"; seasoning, table').stdout), (
        "other templates"
    )
    path = coco(tmp_path / "c.json", {"id": 1, "name": "cup"}, {"id": 2, "name": "tree"})
    named = json.loads(segment("--classes-from", path).stdout)
    assert [entry["name"] for entry in named["classes"]] == ["cup", "tree"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--classes", "a", "--classes-from", "voc21"), "give either --classes or --classes-from"),
        (("--vocabulary", "w.npz", "--template", "{}"), "leave --template away"),
        (("--classes", "a, b", "--vocabulary", "w.npz"), "--vocabulary"),
    ],
)
def test_options_that_contradict_each_other_are_refused(segment, more, told):
    result = segment(*more)
    assert result.exit_code == 2 and told in result.stderr


def test_a_template_without_a_place_is_refused(segment):
    result = segment("--classes", "a, b", "--template", "a photo")
    assert result.exit_code == 1 and "{}" in result.stderr
