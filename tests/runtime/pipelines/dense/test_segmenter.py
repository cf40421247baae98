"""The dense pipeline on engines of its smallest model: labels, words, batches, encoded photos."""

from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.runtime import (
    BundleError,
    EngineError,
    ParameterError,
    PhotoError,
    Prompter,
    RecipeError,
    Segmenter,
    Vocabulary,
    VocabularyError,
    load_recipe,
)
from ovdeploy.runtime.recipe.recipe import recipe_from
from ovdeploy.runtime.words.vocabulary import random_vocabulary
from support.samples import draw_photo
from support.segmenting import assert_same


@pytest.fixture(scope="module")
def dense(micro_dense_bundle):
    with Segmenter.load(micro_dense_bundle, backend="onnxruntime") as segmenter:
        yield segmenter


def words(segmenter, count=5, **how):
    return random_vocabulary(count, segmenter.manifest.dimensions.embedding, **how)


@pytest.mark.parametrize("hw", [(150, 203), (1, 1), (3, 400), (400, 3), (97, 97)])
def test_photos_of_every_shape_are_labelled(dense, hw):
    photo = draw_photo(hw)
    result = dense.segment(photo, words(dense))
    assert result.mask.shape == result.scores.shape == hw and result.mask.dtype == np.uint16
    assert result.mask.max() < 5 and (result.scores > 0).all() and (result.scores <= 1).all()
    assert {"decode", "crops", "clip_dense", "aggregate", "labels", "total"} <= set(result.timings)


def test_how_crops_are_batched_changes_nothing(dense, photo):
    expected = dense.segment(photo, words(dense))
    for batch in (1, 2, 4):
        came = dense.segment(photo, words(dense), parameters={"crop_batch": batch})
        # float32, whose products are summed in another order for another number of rows
        assert (came.mask == expected.mask).mean() > 0.999 and np.abs(came.scores - expected.scores).max() < 1e-5


def test_classes_in_another_order_get_the_same_pixels(dense, photo):
    """Class attention has no order."""
    plain = words(dense)
    order = [3, 0, 4, 1, 2]
    other = Vocabulary([plain.names[i] for i in order], plain.embeddings[order])
    came, expected = dense.segment(photo, other), dense.segment(photo, plain)
    assert (np.array(order)[came.mask] == expected.mask).mean() > 0.999


def test_of_synonyms_the_first_is_asked_about_or_all_are(dense, photo):
    rows = words(dense, 3).embeddings
    both, first, apart = (
        Vocabulary(["cup; mug", "table"], rows),
        Vocabulary(["cup", "table"], rows[[0, 2]]),
        Vocabulary(["cup", "mug", "table"], rows),
    )
    of_first = dense.segment(photo, both)
    assert_labels(of_first, dense.segment(photo, first).mask)
    assert [told for told in of_first.warnings if "synonyms of 1 class the first" in told and "'cup'" in told]
    everything = dense.segment(photo, both, parameters={"first_synonym": False})
    assert not [told for told in everything.warnings if "synonyms" in told]
    assert_labels(everything, np.array([0, 0, 1])[dense.segment(photo, apart).mask])


def assert_labels(result, expected):
    assert np.array_equal(result.mask, expected)


def test_unlikely_pixels_become_background_where_there_is_one(dense, photo):
    vocabulary = words(dense, background=True)
    plain = dense.segment(photo, vocabulary)
    level = float(np.median(plain.scores))
    result = dense.segment(photo, vocabulary, parameters={"probability_threshold": level})
    assert_labels(result, np.where(plain.scores < level, 0, plain.mask))
    with pytest.raises(ParameterError, match="sends unlikely pixels to class 0"):
        dense.segment(photo, words(dense), parameters={"probability_threshold": level})


def test_several_photos_at_once_are_as_one_by_one(dense):
    photos = [draw_photo((60, 80), seed) for seed in range(4)]
    vocabulary = words(dense)
    for came, photo in zip(dense.segment_many(photos, vocabulary, engines=2), photos, strict=True):
        assert_same(came, dense.segment(photo, vocabulary))


def test_words_come_from_the_bundles_own_text_engine_and_template(dense, micro_dense_bundle):
    vocabulary = dense.vocabulary(["cup; mug", "table"])
    assert vocabulary.embeddings.shape == (3, 64)
    same = dense.vocabulary(["cup; mug", "table"], templates=["A photo of a {} in the scene"])
    assert np.array_equal(vocabulary.embeddings, same.embeddings)


def test_an_encoded_photo_gives_each_vocabulary_what_it_would_get_anew(dense, photo, tmp_path):
    encoded = dense.encode(photo)
    encoded.save(tmp_path / "photo.npz")
    read = dense.load_encoded(tmp_path / "photo.npz")
    with dense.engines.counted() as calls:
        for seed in (0, 1):
            vocabulary = words(dense, seed=seed)
            assert_same(encoded.segment(vocabulary), read.segment(vocabulary))
        assert set(calls) == {"aggregate"}
    assert_same(encoded.segment(vocabulary), dense.segment(photo, vocabulary))
    assert encoded.nbytes == read.nbytes > photo.nbytes


@pytest.mark.parametrize("change", [{"side": 170}, {"crop": 100}, {"stride": 60}, {"short_side": 0}])
def test_what_would_be_encoded_otherwise_is_refused(dense, photo, change):
    encoded = dense.encode(photo)
    with pytest.raises(ParameterError, match=f"encoded anew for {next(iter(change))}="):
        encoded.segment(words(dense), parameters=change)


def test_a_damaged_or_foreign_file_is_no_encoded_photo(dense, photo, tmp_path):
    path = tmp_path / "photo.npz"
    dense.encode(photo).save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    damaged = {
        "cut": {**arrays, "dense": arrays["dense"][:2]},
        "nan": {**arrays, "finer": arrays["finer"] * np.float32("nan")},
        "other": {**arrays, "about": np.frombuffer(b"{}", np.uint8)},
        "more": {**arrays, "further": arrays["dense"]},
    }
    for name, content in damaged.items():
        np.savez(tmp_path / f"{name}.npz", **content)
        with pytest.raises(PhotoError, match=r"is no encoded photo of EncodedPhoto.save"):
            dense.load_encoded(tmp_path / f"{name}.npz")
    np.savez_compressed(tmp_path / "packed.npz", **arrays)  # nothing bounds what packed arrays unpack to
    with pytest.raises(PhotoError, match=r"is no encoded photo of EncodedPhoto.save"):
        dense.load_encoded(tmp_path / "packed.npz")
    other = arrays["about"].tobytes().replace(dense.engines.bundle.encode(), b"0" * 64)
    sized = {**arrays, "dense": arrays["dense"][:, :-1]}  # another model's features have other sizes, too
    np.savez(tmp_path / "bundle.npz", **{**sized, "about": np.frombuffer(other, np.uint8)})
    with pytest.raises(PhotoError, match="was encoded by another bundle"):
        dense.load_encoded(tmp_path / "bundle.npz")


def test_pooling_is_baked(dense, photo):
    with pytest.raises(ParameterError, match="pooling=2 cannot be set here: the engine of the head is built with it"):
        dense.segment(photo, words(dense), parameters={"pooling": 2})


@pytest.mark.parametrize("sizes", [{"stride": 97}, {"crop": 161}, {"side": 95}])
def test_crops_that_leave_gaps_or_do_not_fit_are_refused(dense, photo, sizes):
    with pytest.raises(ParameterError, match="stride ≤ crop ≤ side"):
        dense.segment(photo, words(dense), parameters=sizes)


def test_it_opens_as_a_segmenter_alone_and_tells_so(micro_dense_bundle, dense, photo):
    with pytest.raises(BundleError, match=r"cannot be opened as a Prompter.*has Segmenter"):
        Prompter.load(micro_dense_bundle)
    with pytest.raises(BundleError, match="nothing to prompt"):
        dense.prompt(photo)


def test_other_models_words_are_refused(dense, photo):
    with pytest.raises(VocabularyError, match="do not fit this bundle"):
        dense.segment(photo, random_vocabulary(3, 63))


def test_a_closed_segmenter_says_so(micro_dense_bundle, photo):
    segmenter = Segmenter.load(micro_dense_bundle, backend="onnxruntime")
    segmenter.warmup()
    encoded, vocabulary = segmenter.encode(photo), words(segmenter)
    segmenter.close()
    for ask in (lambda: segmenter.encode(photo), lambda: encoded.segment(vocabulary)):
        with pytest.raises(EngineError, match="closed"):
            ask()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, r"needs a \[dense\] table"),
        ({"dense": {"model": "micro_catseg"}, "method": "trident"}, "has no methods"),
        ({"dense": {"model": "micro_catseg"}, "parameters": {"stride": 500}}, "stride ≤ crop ≤ side"),
        ({"dense": {"model": "micro_catseg"}, "clip": {"model": "micro"}}, "clip"),
    ],
)
def test_recipes_that_cannot_be_are_refused(data, told):
    with pytest.raises(RecipeError, match=told):
        recipe_from({"name": "mine", "pipeline": "dense", **data}, "mine")


def test_a_recipe_is_described_as_trained():
    recipe = load_recipe("catseg-b16")
    assert "trained for segmentation; Cho et al." in recipe.family.describe(recipe)
