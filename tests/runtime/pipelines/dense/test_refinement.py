"""Refinement behind the dense pipeline: what SAM's decoder is asked, and what it is asked on."""

from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.runtime import BundleError, ParameterError, PhotoError, Segmenter
from ovdeploy.runtime.pipelines.dense.merging import Answered, label
from ovdeploy.runtime.pipelines.dense.parameters import DenseParameters
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.planes import half_of, plain_halves
from support.samples import draw_photo
from support.segmenting import assert_same

EVERY = {"iou_threshold": -100.0, "region_threshold": 0.0, "min_area": 4}
"""Every region is refined, whatever random weights think of its mask."""


@pytest.fixture(scope="module")
def refining(micro_refined_bundle):
    with Segmenter.load(micro_refined_bundle, backend="onnxruntime") as segmenter:
        yield segmenter


@pytest.fixture(scope="module")
def vocabulary():
    return random_vocabulary(4, 64)


@pytest.mark.parametrize("hw", [(150, 203), (97, 64), (1, 1), (3, 400)])
def test_the_coarse_mask_stays_as_it_is_and_regions_are_told(refining, vocabulary, hw):
    photo = draw_photo(hw)
    plain = refining.segment(photo, vocabulary, parameters={"refine": False})
    result = refining.segment(photo, vocabulary, parameters=EVERY)
    assert np.array_equal(result.coarse_mask, plain.mask) and plain.regions == ()
    assert result.mask.shape == result.scores.shape == hw and (result.scores > 0).all()
    assert all(region.refined for region in result.regions)
    if min(hw) > 50:
        assert result.regions and (result.mask != result.coarse_mask).any()


def test_where_every_mask_is_refused_the_coarse_mask_comes_back(refining, vocabulary, photo):
    result = refining.segment(photo, vocabulary, parameters={**EVERY, "iou_threshold": 100.0})
    assert result.regions and not any(region.refined for region in result.regions)
    assert np.array_equal(result.mask, result.coarse_mask)


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_what_refinement_needs_of_classes_one_by_one_is_what_all_at_once_give(threshold):
    rng = np.random.default_rng(3)
    settings = DenseParameters(short_side=0, side=40, crop=24, stride=16, probability_threshold=threshold)
    crops = [Answered(np.arange(4), rng.standard_normal((4, 24, 24)).astype(np.float32)) for _ in range(5)]
    hw = (37, 51)
    coarse = label(crops, [0, 1, 1, 2], hw, settings, halve=True)
    whole = np.stack([coarse.planes.whole(index) for index in range(3)])
    assert np.array_equal(coarse.scores, whole.max(axis=0))
    assert (coarse.labels == np.where(coarse.scores < threshold, 0, whole.argmax(axis=0))).all()
    assert (coarse.scores < threshold).any() == bool(threshold)
    half_labels, halved = plain_halves(coarse.labels, whole)
    expected = half_of(half_labels, halved)
    for name, came in coarse.half._asdict().items():
        # float32 against float64; OpenCV's and torch's places of samples differ by up to 1e-4 of a pixel
        np.testing.assert_allclose(came, getattr(expected, name), atol=1e-3, err_msg=name)
    assert np.array_equal(coarse.half.labels, half_labels)
    assert np.array_equal(coarse.planes.part(1, slice(3, 9), slice(4, 20)), whole[1, 3:9, 4:20])


def test_a_photo_is_encoded_once_for_masks_that_are_refined(refining, vocabulary, photo, tmp_path):
    encoded = refining.encode(photo, parameters=EVERY)
    encoded.save(tmp_path / "photo.npz")
    read = refining.load_encoded(tmp_path / "photo.npz")
    expected = refining.segment(photo, vocabulary, parameters=EVERY)
    with refining.engines.counted() as calls:
        for each in (encoded, read):
            assert_same(each.segment(vocabulary), expected)
        assert set(calls) == {"aggregate", "sam_decoder"}


def test_sam_sees_a_photo_when_it_is_first_to_be_refined(refining, vocabulary, photo, tmp_path):
    encoded = refining.encode(photo, parameters={**EVERY, "refine": False})
    encoded.save(tmp_path / "photo.npz")
    read = refining.load_encoded(tmp_path / "photo.npz")
    for each in (encoded, read):
        with refining.engines.counted() as calls:
            plain = each.segment(vocabulary)
            assert set(calls) == {"aggregate"} and plain.regions == ()
        with refining.engines.counted() as calls:
            refined = each.segment(vocabulary, parameters={"refine": True})
            assert set(calls) == {"aggregate", "sam_encoder", "sam_decoder"}
        assert_same(refined, refining.segment(photo, vocabulary, parameters=EVERY))


def test_a_file_with_half_of_sams_features_is_refused(refining, photo, tmp_path):
    path = tmp_path / "photo.npz"
    refining.encode(photo).save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    for name, content in {"small": arrays["sam_features"][:, :-1], "none": arrays["sam_features"][:0]}.items():
        np.savez(tmp_path / f"{name}.npz", **{**arrays, "sam_features": content})
        with pytest.raises(PhotoError, match=r"is no encoded photo of EncodedPhoto.save"):
            refining.load_encoded(tmp_path / f"{name}.npz")


def test_without_sam_refinement_is_refused_and_what_to_do_is_told(micro_dense_bundle):
    with pytest.raises(ParameterError, match=r"refine=True needs SAM.*\[sam\] table"):
        Segmenter.load(micro_dense_bundle, backend="onnxruntime", parameters={"refine": True})


def test_prompts_are_baked(refining, vocabulary, photo):
    with pytest.raises(ParameterError, match=r"prompts=.* cannot be set here: the sam_decoder engine takes these"):
        refining.segment(photo, vocabulary, parameters={"prompts": ["box"]})


def test_several_photos_at_once_are_refined_as_one_by_one(refining, vocabulary):
    photos = [draw_photo((60, 80), seed) for seed in range(3)]
    many = refining.segment_many(photos, vocabulary, engines=2, parameters=EVERY)
    for came, photo in zip(many, photos, strict=True):
        assert_same(came, refining.segment(photo, vocabulary, parameters=EVERY))


def test_there_is_no_interactive_prompter(refining, photo):
    with pytest.raises(BundleError, match="nothing to prompt"):
        refining.prompt(photo)
