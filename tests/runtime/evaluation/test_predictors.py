"""What is measured: names given per photo, masks in the dataset's classes, rivals by name."""

import numpy as np
import pytest

from ovdeploy.runtime import BundleError, ParameterError, Segmenter
from ovdeploy.runtime.datasets import IGNORED, Sample, ScenesDataset
from ovdeploy.runtime.evaluation.colour import Colour, colour, mean_colours
from ovdeploy.runtime.evaluation.predictors import KINDS, Settings, Words, find_rival, kinds, open_bundle, to_dataset
from ovdeploy.runtime.scenes import ALL_NAMES
from support.evaluating import NoiseDataset


class Named:
    """A dataset of words, of which one class has synonyms."""

    entries, classes, background = (
        ("background; wall", "cup; mug; beaker", "table"),
        ("background", "cup", "table"),
        True,
    )


def sample(labels, given=None, photo=None):
    labels = np.asarray(labels, np.uint16)
    return Sample(
        np.zeros((*labels.shape, 3), np.uint8) if photo is None else np.asarray(photo, np.uint8), labels, given
    )


def numbered(entries):
    """Embeddings that tell which synonym they are of."""
    count = sum(len(entry.split(";")) for entry in entries)
    return np.arange(count, dtype=np.float32)[:, None] + np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("given", "names", "rows", "background"),
    [
        (None, ("background", "cup", "table"), [0, 1, 2, 3, 4, 5], True),
        ((0, 2), ("background", "table"), [0, 1, 5], True),
        ((1, 2), ("cup", "table"), [2, 3, 4, 5], False),
        ((1,), ("cup",), [2, 3, 4], False),
    ],
)
def test_a_sample_gets_the_words_it_is_given(given, names, rows, background):
    words = Words(Named, numbered)
    for _ in range(2):
        part = words.given(sample([[0]], given))
        assert part.names == names and part.background == background
        assert (part.embeddings[:, 0] - 1).tolist() == rows
        words.given(sample([[0]], (0, 1, 2)))


def test_words_are_embedded_once():
    calls = []
    words = Words(Named, lambda entries: calls.append(entries) or numbered(entries))
    for given in (None, (0, 1), (2,), (0, 1)):
        words.given(sample([[0]], given))
    assert calls == [Named.entries]


def test_masks_come_back_in_the_datasets_classes():
    mask = np.array([[0, 2], [1, 0]], np.uint16)
    assert to_dataset(mask, sample([[0]])).tolist() == mask.tolist()
    assert to_dataset(mask, sample([[0]], (4, 7, 9))).tolist() == [[4, 9], [7, 4]]
    assert kinds(mask, mask, True, sample([[0]]))["refined"].dtype == np.uint16


@pytest.mark.parametrize(("refined", "expected"), [(True, ["refined", "coarse"]), (False, ["coarse"])])
def test_a_pipeline_without_refinement_has_one_kind_of_mask(refined, expected):
    found = kinds(np.ones((1, 1), int), np.zeros((1, 1), int), refined, sample([[0]]))
    assert list(found) == expected and list(KINDS) == ["refined", "coarse"]
    assert found["coarse"].item() == 0 and found.get("refined", np.ones(1)).item() == 1


@pytest.fixture(scope="module")
def scenes():
    return ScenesDataset(2)


@pytest.fixture(scope="module")
def settings(micro_bundle, scenes):
    return Settings(bundle=micro_bundle, dataset=scenes, parameters={"refine": False}, templates=("a {}.",))


def test_a_bundles_masks_are_those_of_its_segmenter(settings, scenes, micro_bundle):
    with open_bundle(settings) as predictor, Segmenter.load(micro_bundle, parameters={"refine": False}) as segmenter:
        for name in scenes.names:
            one = scenes.read(name)
            found = predictor.predict(one).masks
            vocabulary = segmenter.vocabulary([ALL_NAMES[index] for index in one.given], templates=["a {}."])
            expected = np.array(one.given)[segmenter.segment(one.photo, vocabulary).mask]
            assert list(found) == ["coarse"] and (found["coarse"] == expected).all()
        assert predictor.identity["parameters"]["refine"] is False
        assert str(micro_bundle) not in str(predictor.identity)


def test_another_bundle_is_a_rival_and_an_unknown_one_is_told_what_there_is(settings, tmp_path, micro_bundle):
    (tmp_path / "other").symlink_to(micro_bundle)
    with find_rival(str(tmp_path / "other"))(settings) as rival, open_bundle(settings) as predictor:
        assert rival.identity == predictor.identity
    fast = find_rival(f"{micro_bundle}@fp8")(settings)
    with pytest.raises(BundleError, match="fp8"), fast:
        pass
    with pytest.raises(ParameterError, match=r"Did you mean 'torch'\? Valid: colour, torch.*FOLDER@PRECISION"):
        find_rival("torsch")


def test_mean_colours_are_those_of_the_labels():
    photo = [[[1, 2, 3], [5, 6, 7], [200, 0, 0]], [[3, 4, 5], [9, 9, 9], [0, 0, 200]]]
    labels = [[0, 0, 2], [0, IGNORED, 2]]

    class Two(NoiseDataset):
        def read(self, name):
            super().read(name)
            return sample(labels, photo=photo)

    means = mean_colours(Two(3, bad={"0001": OSError}))
    np.testing.assert_allclose(means[[0, 2]], [[3, 4, 5], [100, 0, 100]])
    assert np.isnan(means[[1, 3]]).all()


def test_the_colour_baseline_takes_the_nearest_class_that_is_given():
    baseline = Colour(np.array([[0, 0, 0], [100, 0, 0], [np.nan] * 3, [255, 255, 255]]))
    photo = [[[10, 0, 0], [90, 0, 0], [200, 255, 255]]]
    assert baseline.predict(sample([[0, 0, 0]], None, photo)).masks["colour"].tolist() == [[0, 1, 3]]
    assert baseline.predict(sample([[0, 0, 0]], (0, 2, 3), photo)).masks["colour"].tolist() == [[0, 0, 3]]


def test_the_colour_baseline_is_right_where_colours_tell_all(scenes):
    dataset = NoiseDataset(4, hw=(8, 8))

    class Painted(NoiseDataset):
        def read(self, name):
            labels = dataset.read(name).labels
            return sample(labels, photo=np.minimum(labels, 9)[..., None].repeat(3, axis=2) * 20)

    with colour(Settings(bundle=None, dataset=Painted(4))) as baseline:
        for name in dataset.names:
            one = Painted(4).read(name)
            counted = one.labels != IGNORED
            assert (baseline.predict(one).masks["colour"] == one.labels)[counted].all()
