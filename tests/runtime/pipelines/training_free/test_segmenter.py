"""The segmenter: on the tiny bundle's engines, and on fake sessions alone."""

import numpy as np
import pytest
from PIL import Image

from ovdeploy.runtime import Bundle, EngineError, ParameterError, PhotoError, Segmenter, Vocabulary, VocabularyError
from ovdeploy.runtime.errors import OvdeployError
from ovdeploy.runtime.geometry.limits import BATCH
from ovdeploy.runtime.pipelines.training_free.segmenter import TrainingFreeSegmenter
from support.samples import draw_photo, random_vocabulary
from support.segmenting import ENGINES, EVERYTHING, assert_same, faked, random_outputs


def vocabulary_of(count, length, *, background=False):
    rows = np.random.default_rng(1).standard_normal((count, length))
    return Vocabulary([f"class {i}" for i in range(count)], rows, background=background)


def assert_sound(result, hw, vocabulary):
    for plane, dtype in ((result.mask, np.uint16), (result.coarse_mask, np.uint16), (result.scores, np.float32)):
        assert plane.shape == hw and plane.dtype == dtype
    assert result.mask.max() < len(vocabulary) and result.coarse_mask.max() < len(vocabulary)
    # a probability, or one times a sigmoid; float32 sums may pass 1 by a few units in the last place
    assert result.scores.min() >= 0 and result.scores.max() <= 1 + 1e-5
    assert result.names == vocabulary.names
    for region in result.regions:
        x0, y0, x1, y1 = region.box_xyxy
        x, y = region.point_xy
        assert 0 <= x0 <= x <= x1 < hw[1] and 0 <= y0 <= y <= y1 < hw[0]
        assert 1 <= region.area <= hw[0] * hw[1]
        assert region.class_name == vocabulary.names[region.class_index]


def test_a_result_has_the_photos_size_and_the_promised_types(segmenter, vocabulary, photo):
    result = segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    assert_sound(result, photo.shape[:2], vocabulary)
    assert result.regions and all(region.refined for region in result.regions)
    assert (result.mask != result.coarse_mask).any(), "the case must refine something"
    np.testing.assert_array_equal(result.photo, photo)


def test_the_same_photo_gives_the_same_bytes(segmenter, micro_bundle, vocabulary, photo):
    first = segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    segmenter.segment(draw_photo((64, 90), seed=1), vocabulary)
    assert_same(segmenter.segment(photo, vocabulary, parameters=EVERYTHING), first)
    with Segmenter.load(micro_bundle, parameters=EVERYTHING) as another:
        assert_same(another.segment(photo, vocabulary), first)


def test_a_path_and_any_layout_of_the_array_give_what_the_array_gives(segmenter, vocabulary, photo, tmp_path):
    Image.fromarray(photo).save(tmp_path / "photo.png")
    expected = segmenter.segment(photo, vocabulary)
    for same in (tmp_path / "photo.png", str(tmp_path / "photo.png"), np.asfortranarray(photo)):
        assert_same(segmenter.segment(same, vocabulary), expected)
    np.testing.assert_array_equal(photo, draw_photo(photo.shape[:2]), "it must not be written to")


@pytest.mark.parametrize("hw", [(1, 1), (1, 2), (1, 400), (400, 1), (2, 3), (16, 16), (97, 96), (33, 500)])
@pytest.mark.parametrize("refine", [True, False])
def test_photos_of_any_size_are_segmented(segmenter, vocabulary, hw, refine):
    result = segmenter.segment(draw_photo(hw), vocabulary, parameters={**EVERYTHING, "refine": refine})
    assert_sound(result, hw, vocabulary)


@pytest.mark.parametrize("colour", [0, 127, 255])
def test_flat_photos_are_segmented(segmenter, vocabulary, colour):
    photo = np.full((100, 130, 3), colour, np.uint8)
    assert_sound(segmenter.segment(photo, vocabulary, parameters=EVERYTHING), (100, 130), vocabulary)


@pytest.mark.parametrize("photo", [None, b"", "missing.png", np.zeros((4, 4)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_photo_is_refused(segmenter, vocabulary, photo):
    with pytest.raises(PhotoError):
        segmenter.segment(photo, vocabulary)


def test_a_photo_above_the_limit_is_refused_with_its_size_and_the_way_out(segmenter, vocabulary, photo):
    with pytest.raises(PhotoError, match=r"203×150.*max_pixels"):
        segmenter.segment(photo, vocabulary, parameters={"max_pixels": 150 * 203 - 1})
    segmenter.segment(photo, vocabulary, parameters={"max_pixels": 150 * 203})


def test_parameters_given_on_load_hold_and_those_of_a_call_go_before_them(micro_bundle, vocabulary, photo):
    with Segmenter.load(micro_bundle, parameters={"refine": False, "stride": 32}) as loaded:
        coarse = loaded.segment(photo, vocabulary)
        assert not np.array_equal(loaded.segment(photo, vocabulary, parameters={"stride": 64}).scores, coarse.scores)
        refined = loaded.segment(photo, vocabulary, parameters=EVERYTHING | {"refine": True})
        assert_same(loaded.segment(photo, vocabulary), coarse)
    assert not coarse.regions and refined.regions
    np.testing.assert_array_equal(refined.coarse_mask, coarse.mask)


UNUSABLE = [({"strid": 1}, "'stride'"), ({"crop": 64}, "shape of the dino"), ({"stride": 0}, ">= 1")]


@pytest.mark.parametrize(("parameters", "told"), UNUSABLE)
def test_parameters_that_cannot_be_used_are_refused(segmenter, micro_bundle, vocabulary, photo, parameters, told):
    with pytest.raises(ParameterError, match=told):
        segmenter.segment(photo, vocabulary, parameters=parameters)
    with pytest.raises(ParameterError, match=told):
        Segmenter.load(micro_bundle, parameters=parameters)


def test_a_stride_off_the_grid_is_refused_with_the_patch(segmenter, vocabulary, photo):
    with pytest.raises(ParameterError, match=r"stride=50 must be a multiple of .* 16"):
        segmenter.segment(photo, vocabulary, parameters={"stride": 50})


@pytest.mark.parametrize(("scale", "refine"), [(float("inf"), True), (float("inf"), False), (1e39, False)])
def test_a_scale_past_what_float32_holds_is_refused_and_never_a_mask(segmenter, vocabulary, photo, scale, refine):
    with pytest.raises(ParameterError, match="logit_scale"):
        segmenter.segment(photo, vocabulary, parameters={"logit_scale": scale, "refine": refine})


def test_without_refinement_the_mask_is_the_coarse_mask_and_there_are_no_regions(segmenter, vocabulary, photo):
    result = segmenter.segment(photo, vocabulary, parameters={"refine": False})
    assert result.regions == ()
    np.testing.assert_array_equal(result.mask, result.coarse_mask)
    refined = segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    np.testing.assert_array_equal(result.mask, refined.coarse_mask)
    assert not {"sam_decoder", "regions", "prompts", "merge"} & set(result.timings)


@pytest.mark.parametrize("name", ["window_batch", "prompt_batch"])
@pytest.mark.parametrize("size", [1, 3, BATCH])
def test_batches_do_not_change_the_result(segmenter, vocabulary, photo, name, size):
    parameters = EVERYTHING | {"stride": 32, "iou_threshold": 0.4}
    expected = segmenter.segment(photo, vocabulary, parameters=parameters)
    result = segmenter.segment(photo, vocabulary, parameters=parameters | {name: size})
    np.testing.assert_array_equal(result.mask, expected.mask)
    # the engines' matrix products sum in another order for another batch: float32 rounding, some 1e-6 of scores below 1
    np.testing.assert_allclose(result.scores, expected.scores, atol=1e-5)
    assert [region.box_xyxy for region in result.regions] == [region.box_xyxy for region in expected.regions]


@pytest.mark.parametrize("classes", [1, 2, 60])
def test_one_class_and_many_are_segmented(segmenter, photo, classes):
    vocabulary = vocabulary_of(classes, segmenter.manifest.dimensions.embedding)
    result = segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    assert_sound(result, photo.shape[:2], vocabulary)
    assert classes > 1 or not result.mask.any()


@pytest.mark.parametrize("change", [-1, 1])
def test_embeddings_of_another_model_are_refused_with_both_lengths(segmenter, photo, change):
    length = segmenter.manifest.dimensions.embedding
    with pytest.raises(VocabularyError, match=rf"{length + change}.*{length}"):
        segmenter.segment(photo, random_vocabulary(length + change))


@pytest.mark.parametrize("vocabulary", [None, ["cup", "table"], "cup"])
def test_what_is_no_vocabulary_is_refused_with_how_to_make_one(segmenter, photo, vocabulary):
    with pytest.raises(VocabularyError, match="vocabulary"):
        segmenter.segment(photo, vocabulary)


def test_a_probability_threshold_needs_a_background_and_sends_unlikely_pixels_there(segmenter, photo):
    length = segmenter.manifest.dimensions.embedding
    parameters = {"probability_threshold": 0.6, "refine": False}
    with pytest.raises(ParameterError, match="background"):
        segmenter.segment(photo, vocabulary_of(3, length), parameters=parameters)
    vocabulary = vocabulary_of(3, length, background=True)
    plain = segmenter.segment(photo, vocabulary, parameters={"refine": False})
    result = segmenter.segment(photo, vocabulary, parameters=parameters)
    unlikely = plain.scores < 0.6
    assert (unlikely & (plain.mask > 0)).any(), "the case must send something to the background"
    np.testing.assert_array_equal(result.mask, np.where(unlikely, 0, plain.mask))


def test_timings_are_those_of_all_steps_and_lie_within_the_total(segmenter, vocabulary, photo):
    timings = segmenter.segment(photo, vocabulary, parameters=EVERYTHING).timings
    assert {"decode", "plan", "windows", "coarse", "regions", "prompts", "merge", *ENGINES} <= set(timings)
    assert min(timings.values()) >= 0
    assert sum(value for name, value in timings.items() if name != "total") <= timings["total"]


@pytest.mark.parametrize("parameters", [{}, {"refine": False}, {"probability_threshold": 0.5}, {"max_pixels": 1000}])
def test_warmup_runs_whatever_the_parameters(micro_bundle, parameters):
    with Segmenter.load(micro_bundle, parameters=parameters) as segmenter:
        assert segmenter.warmup() is None


def test_a_segmenter_is_closed_twice_without_harm_and_then_says_that_it_is_closed(micro_bundle, vocabulary, photo):
    segmenter = Segmenter.load(micro_bundle)
    segmenter.close()
    segmenter.close()
    with pytest.raises(EngineError, match="closed"):
        segmenter.segment(photo, vocabulary)


def test_the_pipeline_runs_on_fake_sessions_in_its_order(micro_bundle, vocabulary, photo):
    segmenter, sessions = faked(micro_bundle)
    parameters = {"window_batch": 2, "prompt_batch": 1, "min_area": 1, "region_threshold": 0.0}
    result = segmenter.segment(photo, vocabulary, parameters=parameters)
    assert_sound(result, photo.shape[:2], vocabulary)
    assert len(sessions["dino"].calls) == len(sessions["clip_image"].calls) > 1
    means = np.concatenate([call["mean_similarity"] for call in sessions["clip_image"].calls])
    assert len(means) > 2 and np.ptp(means) == 0, "Trident's mean is over all windows, whatever the batch"
    assert len(sessions["head"].calls) == len(sessions["sam_encoder"].calls) == 1
    assert len(sessions["sam_decoder"].calls) == len(result.regions) > 0
    np.testing.assert_array_equal(sessions["head"].calls[0]["embeddings"], vocabulary.embeddings)


@pytest.mark.parametrize("stage", ENGINES)
def test_an_engine_that_returns_nan_is_an_error_that_names_its_stage(micro_bundle, vocabulary, photo, stage):
    contract = Bundle.load(micro_bundle).stage(stage).contract
    broken = {stage: lambda feeds: {n: array * np.nan for n, array in random_outputs(contract, feeds).items()}}
    segmenter, _ = faked(micro_bundle, **broken)
    with pytest.raises(EngineError, match=rf"the {stage} engine.*NaN"):
        segmenter.segment(photo, vocabulary, parameters={"region_threshold": 0.0})


@pytest.mark.parametrize("stage", ENGINES)
def test_a_stage_without_a_session_is_told_by_name(micro_bundle, vocabulary, photo, stage):
    segmenter, sessions = faked(micro_bundle)
    del sessions[stage]
    with pytest.raises(OvdeployError, match="SAM" if stage == "sam_decoder" else stage):
        TrainingFreeSegmenter(segmenter.manifest, sessions).segment(photo, vocabulary)


def test_a_segmenter_without_a_text_engine_says_what_to_do_instead(micro_bundle):
    with pytest.raises(VocabularyError, match=r"Vocabulary\.load"):
        faked(micro_bundle)[0].vocabulary(["cup"])


@pytest.mark.parametrize("parameters", [{}, {"iou_threshold": 0.5}, {"min_area": 100_000}, {"as_published": True}])
def test_every_pixel_has_the_score_of_its_label_and_no_class_scores_nothing(segmenter, vocabulary, photo, parameters):
    """Where no region was refined the coarse label stays, with the probability that it had."""
    result = segmenter.segment(photo, vocabulary, parameters=parameters)
    coarse = segmenter.segment(photo, vocabulary, parameters={**parameters, "refine": False})
    assert result.scores.min() > 0
    stays = (result.mask == coarse.mask) & (result.scores == coarse.scores)
    changed = result.mask != coarse.mask
    assert not (stays & changed).any()
    assert all(entry["mean_score"] > 0 for entry in result.to_dict()["classes"] if entry["pixels"])


def test_a_class_without_refined_regions_keeps_its_coarse_score(micro_bundle, vocabulary, photo):
    """A decoder that likes one region and says of the others that it knows nothing: their score was 0."""

    def decode(feeds):
        regions = len(next(iter(feeds[name] for name in ("points", "boxes") if name in feeds)))
        logits = np.full((regions, 1, *[manifest.dimensions.sam_grid * 4] * 2), -1.0, np.float32)
        return {"low_res_logits": logits, "iou": np.ones(regions, np.float32)}

    manifest = Bundle.load(micro_bundle).manifest
    faked_one, _ = faked(micro_bundle, sam_decoder=decode)
    result = faked_one.segment(photo, vocabulary, parameters=EVERYTHING)
    coarse = faked_one.segment(photo, vocabulary, parameters={"refine": False})
    np.testing.assert_array_equal(result.mask, coarse.mask)
    np.testing.assert_array_equal(result.scores, coarse.scores)
