"""The grounded pipeline on the engines of random weights: what a photo's answer holds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ovdeploy.runtime import PhotoError, Prompter, Segmenter, VocabularyError
from ovdeploy.runtime.answers.instance import instances_document
from ovdeploy.runtime.answers.rle import Rle
from ovdeploy.runtime.answers.visible import visible
from ovdeploy.runtime.errors import OvdeployWarning, ParameterError, RecipeError
from ovdeploy.runtime.pictures.overlay import draw_overlay
from ovdeploy.runtime.pipelines.grounded.parameters import GroundedParameters
from ovdeploy.runtime.pipelines.grounded.things import GroundedInstance, Seen, apart
from ovdeploy.runtime.recipe.recipe import recipe_from
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.samples import draw_photo


@pytest.fixture(scope="module")
def grounded(micro_grounded_bundle):
    with Segmenter.load(micro_grounded_bundle, backend="onnxruntime", parameters={"box_threshold": 0.0}) as opened:
        yield opened


@pytest.fixture(scope="module")
def sample():
    return draw_photo((90, 131))


@pytest.fixture(scope="module")
def answer(grounded, sample):
    return grounded.segment(sample, grounded.vocabulary(["background", "cup; mug", "table"]))


def test_things_carry_mask_box_class_and_both_scores(answer):
    things = answer.instances()
    assert 0 < len(things) <= 6 and all(isinstance(each, GroundedInstance) for each in things)
    assert [each.id for each in things] == list(range(1, len(things) + 1))
    assert [each.score for each in things] == sorted((each.score for each in things), reverse=True)
    for each in things:
        mask = each.mask.decode()
        y, x = np.nonzero(mask)
        assert each.box_xyxy == (x.min(), y.min(), x.max(), y.max()) and each.area == mask.sum()
        assert each.class_name in ("cup", "table") and each.score == each.box_score
        assert len(each.detected_xyxy) == 4 and np.isfinite(each.iou)


def test_the_label_map_shows_the_surest_thing_of_every_pixel(answer):
    labels, scores = np.zeros((90, 131), int), np.zeros((90, 131))
    for y in range(90):
        for x in range(131):
            there = [each for each in answer.instances() if each.mask.decode()[y, x]] if y % 30 == 0 else []
            if there:
                labels[y, x], scores[y, x] = there[0].class_index, there[0].score
    np.testing.assert_array_equal(answer.mask[::30], labels[::30])
    np.testing.assert_allclose(answer.scores[::30], scores[::30], atol=1e-7)


def test_the_score_can_be_the_boxs_times_sams(grounded, sample, answer):
    words = grounded.vocabulary(["background", "cup; mug", "table"])
    both = grounded.segment(sample, words, parameters={"score_by_sam": True})
    wanted = sorted(each.box_score * min(max(each.iou, 0), 1) for each in answer.instances())
    assert sorted(each.score for each in both.instances()) == pytest.approx(wanted)


def test_where_nothing_is_found_all_is_background_and_sam_is_not_asked(grounded, sample):
    words = grounded.vocabulary(["background", "cup"])
    with grounded.engines.counted() as calls:
        nothing = grounded.segment(sample, words, parameters={"box_threshold": 1.0})
    assert nothing.instances() == () and not nothing.mask.any() and not nothing.scores.any()
    assert set(calls) == {"detector_image"} and not nothing.warnings


def test_only_a_background_finds_nothing(grounded, sample):
    assert grounded.segment(sample, grounded.vocabulary(["background"])).instances() == ()


@pytest.mark.parametrize("count", [1, 300])
def test_one_word_and_three_hundred_are_answered(grounded, sample, count):
    result = grounded.segment(sample, random_vocabulary(count, 64))
    assert 0 < len(result.instances()) <= 6 and len(result.names) == count
    assert any("has no background" in told for told in result.warnings)


def test_without_a_background_pictures_show_what_no_thing_covers_in_grey(grounded, sample):
    words = random_vocabulary(1, 64)
    nothing = grounded.segment(sample, words, parameters={"box_threshold": 1.0})
    wanted = draw_overlay(sample, np.zeros(sample.shape[:2], int), ["unlabelled"], opacity=0.55, legend=False)
    assert nothing.overlay(legend=False).tobytes() == wanted.tobytes()
    some = grounded.segment(sample, words)
    assert some.overlay(legend=False).tobytes() != wanted.tobytes()


def test_photos_of_a_batch_are_answered_as_alone(grounded, sample, answer):
    words = grounded.vocabulary(["background", "cup; mug", "table"])
    for result in grounded.segment_many([sample, sample], words, workers=2):
        assert result.mask.tobytes() == answer.mask.tobytes() and result.instances() == answer.instances()


def test_forms_of_answers_have_the_things(answer):
    assert len(answer.to_coco()["annotations"]) == len(answer.instances())
    document = answer.to_panoptic().document
    assert json.dumps(document)
    parts = visible(answer.instances())
    assert sum(each.area for each in parts) == (answer.scores > 0).sum(), "every painted pixel once"
    largest = max(each.area for each in answer.instances())
    assert len(answer.instances(min_area=largest)) < len(answer.instances())


def test_words_of_another_model_are_refused(grounded, sample):
    with pytest.raises(VocabularyError, match="length"):
        grounded.segment(sample, random_vocabulary(2, 63))


def test_a_name_that_is_too_long_is_refused(grounded):
    with pytest.raises(VocabularyError, match="reads 16"):
        grounded.vocabulary(["a very " * 8 + "long name"])


def test_thresholds_are_shares(grounded, sample):
    with pytest.raises(ParameterError, match="box_threshold"):
        grounded.segment(sample, random_vocabulary(1, 64), parameters={"box_threshold": 1.5})


def test_the_smallest_photos_and_the_longest_are_answered(grounded):
    for hw in ((1, 1), (1, 900), (300, 2)):
        result = grounded.segment(draw_photo(hw), random_vocabulary(2, 64, background=True))
        assert result.mask.shape == hw


def test_the_same_bundle_is_prompted(micro_grounded_bundle, grounded, sample):
    with Prompter.load(micro_grounded_bundle, backend="onnxruntime") as prompter:
        came = prompter.encode(sample).predict(box=(10, 10, 60, 60))
    wanted = grounded.prompt(sample).predict(box=(10, 10, 60, 60))
    assert came.masks.tobytes() == wanted.masks.tobytes()


def test_warming_up_runs_every_engine_that_photos_need(micro_grounded_bundle):
    with Segmenter.load(micro_grounded_bundle, backend="onnxruntime") as opened, opened.engines.counted() as calls:
        opened.warmup()
        assert set(calls) == {"detector_image", "sam_encoder", "sam_prompt_decoder"}


def test_a_photo_is_encoded_once_and_asked_many_times(grounded, sample, answer, tmp_path):
    words = grounded.vocabulary(["background", "cup; mug", "table"])
    encoded = grounded.encode(sample)
    encoded.save(tmp_path / "photo.npz")
    for asked in (encoded, grounded.load_encoded(tmp_path / "photo.npz")):
        before = asked.nbytes
        with grounded.engines.counted() as calls:
            came = [asked.segment(words) for _ in range(2)]
        assert set(calls) == {"sam_prompt_decoder"} and len(calls["sam_prompt_decoder"]) == 1
        assert all(each.instances() == answer.instances() for each in came) and asked.nbytes > before
        assert asked.segment(words, parameters={"box_threshold": 1.0}).instances() == ()


def test_an_encoded_photo_is_of_its_padding(grounded, sample):
    encoded, words = grounded.encode(sample, parameters={"padding": 0.0}), random_vocabulary(2, 64, background=True)
    with pytest.raises(ParameterError, match=r"encoded anew for padding=0\.5"):
        encoded.segment(words, parameters={"padding": 0.5})
    alone = grounded.segment(sample, words, parameters={"padding": 0.0})
    assert encoded.segment(words).instances() == alone.instances()


def test_a_file_of_another_pipelines_photo_is_refused(grounded, tmp_path):
    np.savez(tmp_path / "photo.npz", boxes=np.zeros(3))
    with pytest.raises(PhotoError, match=r"no encoded photo of EncodedPhoto\.save"):
        grounded.load_encoded(tmp_path / "photo.npz")


def test_what_is_replayed_is_what_a_photo_gives(grounded, sample):
    words, memory = grounded.vocabulary(["background", "cup; mug", "table"]), {}
    made = grounded.answers(sample, words)
    points = [{"box_threshold": 0.0}, {"box_threshold": 0.5, "nms_threshold": 0.3}, {"mask_nms_threshold": 0.3}]
    for _ in range(2):  # the second time from memory alone
        with grounded.engines.counted() as calls:
            decided = grounded.deciding(made, np.zeros_like(sample), words, memory)
            came = [decided(point).instances() for point in points]
        wanted = [grounded.segment(sample, words, parameters=point).instances() for point in points]
        # SAM's mask of a box may round otherwise beside other boxes; things and their order must be the same
        assert [[each.detected_xyxy for each in things] for things in came] == [
            [each.detected_xyxy for each in things] for things in wanted
        ]
    assert not calls and memory


def test_a_parameter_that_this_detector_does_not_use_is_warned_of(grounded, sample):
    words = random_vocabulary(2, 64, background=True)
    with pytest.warns(OvdeployWarning, match="text_threshold is set"):
        result = grounded.segment(sample, words, parameters={"text_threshold": 0.9})
    assert result.instances() == grounded.segment(sample, words).instances()
    assert any("text_threshold" in told for told in result.warnings)


def seen(*columns):
    """Masks of whole columns of a picture of 4 × 10, the surest first, each of class 1 unless said otherwise."""
    made = []
    for first, last, number in columns:
        mask = np.zeros((4, 10), bool)
        mask[:, first:last] = True
        made.append((Seen(Rle.encode(mask), int(mask.sum()), (first, 0, last - 1, 3), 0.9), number))
    return made


def test_things_whose_masks_lie_over_a_surer_ones_are_dropped_only_when_it_is_asked_for():
    things = seen((0, 8, 1), (0, 6, 1), (0, 8, 2), (7, 10, 1))  # IoU with the first: 0.75, 1, 0.1
    assert apart(things, GroundedParameters()) == [0, 1, 2, 3]
    assert apart(things, GroundedParameters(mask_nms_threshold=0.75)) == [0, 1, 2, 3], "not reached by equality"
    assert apart(things, GroundedParameters(mask_nms_threshold=0.7)) == [0, 2, 3]
    assert apart(things, GroundedParameters(mask_nms_threshold=0.7, nms_across_classes=True)) == [0, 3]


def test_json_has_the_detectors_box_and_both_scores(answer):
    document = instances_document(answer.subject, answer.instances())
    for told, each in zip(document["instances"], answer.instances(), strict=True):
        assert told["detected_xyxy"] == list(each.detected_xyxy)
        assert (told["box_score"], told["iou"]) == (each.box_score, each.iou)
    assert json.dumps(document)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"sam": {"model": "micro"}}, r"needs a \[detector\]"),
        ({"detector": {"model": "micro_owlv2"}}, r"needs a \[sam\]"),
        ({"detector": {"model": "micro_owlv3"}, "sam": {"model": "micro"}}, "micro_owlv2"),
        ({"detector": {"model": "micro_owlv2"}, "sam": {"model": "micro"}, "method": "trident"}, "no methods"),
    ],
)
def test_recipes_without_a_part_are_refused(data, told):
    with pytest.raises(RecipeError, match=told):
        recipe_from({"name": "r", "pipeline": "grounded", **data}, "r.toml")
