"""Records and what is made from them: against `Segmenter.segment`, and how often engines run."""

import numpy as np
import pytest

from ovdeploy.calib.tune.replay import Recorder, Replay
from ovdeploy.runtime import EngineError, PhotoError, Segmenter
from ovdeploy.runtime.datasets import IGNORED, Sample
from ovdeploy.runtime.evaluation.predictors import Words
from ovdeploy.runtime.labelling.remembering import RememberingDecoder
from ovdeploy.runtime.pipelines.promptable.stages import WHOLE
from support.evaluating import NoiseDataset
from support.samples import draw_photo, random_vocabulary

EVERYTHING = {"iou_threshold": -10.0, "min_area": 1.0, "region_threshold": 0.0}  # every region is refined and accepted


class Drawn(NoiseDataset):
    """Photos with several things in them."""

    def read(self, name):
        return Sample(draw_photo(self._hw, seed=int(name)), super().read(name).labels)


DATASET = Drawn(3, hw=(64, 80))


@pytest.fixture(scope="module")
def opened(micro_bundle):
    with Segmenter.load(micro_bundle, parameters=EVERYTHING) as segmenter:
        yield segmenter


@pytest.fixture(scope="module")
def words(opened):
    """Random embeddings: those of a random CLIP's words are so alike that one class takes all."""
    embeddings = random_vocabulary(opened.manifest.dimensions.embedding).embeddings
    return Words(DATASET, lambda entries: embeddings)


def recorder(opened, words, folder, dataset=DATASET, **identity):
    return Recorder(opened, dataset, words, folder, identity)


POINTS = [
    EVERYTHING,
    {**EVERYTHING, "refine": False},
    {**EVERYTHING, "min_area": 60.0},
    {**EVERYTHING, "logit_scale": 20.0, "probability_threshold": 0.3},
    {**EVERYTHING, "iou_threshold": 10.0},
]


def test_masks_are_those_of_segment(opened, words, tmp_path):
    made = recorder(opened, words, tmp_path)
    for name in DATASET.names[:2]:
        made.record(name)
        labels, found = Replay(opened, made, words).masks(name, POINTS)
        sample = DATASET.read(name)
        np.testing.assert_array_equal(labels, sample.labels)
        for point, masks in zip(POINTS, found, strict=True):
            result = opened.segment(sample.photo, words.given(sample), parameters=point)
            np.testing.assert_array_equal(masks["coarse"], result.coarse_mask)
            assert ("refined" in masks) == point.get("refine", True)
            # a remembered prompt went through the decoder in another batch, which may round otherwise
            assert (masks.get("refined", result.mask) == result.mask).mean() > 0.999
    assert (found[0]["refined"] != found[0]["coarse"]).any(), "the case must refine something"


def test_names_given_to_a_photo_are_kept(opened, tmp_path):
    class Some(NoiseDataset):
        background = False

        def read(self, name):
            sample = super().read(name)
            return Sample(
                sample.photo, np.where(sample.labels == 2, IGNORED, sample.labels).astype(np.uint16), (0, 1, 3)
            )

    dataset = Some(1, hw=(48, 48))
    words = Words(dataset, lambda entries: opened.vocabulary(entries, templates=["a {}."]).embeddings)
    made = recorder(opened, words, tmp_path, dataset)
    assert made.record("0000").given == (0, 1, 3) == made.recorded("0000").given
    _, [masks] = Replay(opened, made, words).masks("0000", [{}])
    assert set(np.unique(masks["coarse"])) <= {0, 1, 3}


def test_engines_run_once_for_all_that_is_the_same(opened, words, tmp_path):
    def run(dataset=DATASET, **identity):
        made = recorder(opened, words, tmp_path, dataset, **identity)
        for name in dataset.names:
            made.record(name)
        return made.encoded, made.reused

    assert run() == (3, 0)
    assert run() == (0, 3)
    assert run(Drawn(4, hw=(64, 80))) == (1, 3), "more photos: only those that are new"
    assert run(precision="fp16") == (3, 0)
    assert run(Drawn(3, hw=(64, 84))) == (3, 0)

    class Relabelled(Drawn):
        def read(self, name):
            sample = super().read(name)
            return Sample(sample.photo, np.zeros_like(sample.labels))

    assert run(Relabelled(3, hw=(64, 80))) == (3, 0)


@pytest.mark.parametrize("damage", [b"", b"no archive", None, slice(0, 2000), slice(0, -1)])
def test_a_damaged_or_lost_record_is_made_again(opened, words, tmp_path, damage):
    made = recorder(opened, words, tmp_path)
    expected = made.record("0000")
    [path] = tmp_path.iterdir()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[damage] if isinstance(damage, slice) else damage)
    again = made.recorded("0000")
    assert made.encoded == 2
    np.testing.assert_array_equal(again.labels, expected.labels)
    assert again.given == expected.given
    assert again.made.keys() == expected.made.keys() == {"logits", "sam_features"}
    for array in expected.made:
        np.testing.assert_array_equal(again.made[array], expected.made[array])
    assert made.bytes == path.stat().st_size > 0


def test_a_bad_photo_leaves_no_record(opened, words, tmp_path):
    bad = NoiseDataset(1, bad={"0000": PhotoError})
    with pytest.raises(PhotoError):
        recorder(opened, words, tmp_path / "folder", bad).record("0000")
    assert not (tmp_path / "folder").exists()


def test_without_refinement_sams_features_are_not_kept(micro_bundle, words, tmp_path):
    with Segmenter.load(micro_bundle, parameters={"refine": False}) as coarse:
        assert recorder(coarse, words, tmp_path).record("0000").made.keys() == {"logits"}


@pytest.fixture
def decoder(opened):
    return RememberingDecoder(opened.sessions["sam_decoder"], WHOLE)


def feeds(opened, prompts, seed=0):
    contract = opened.sessions["sam_decoder"].contract
    rng = np.random.default_rng(seed)
    shapes = {
        spec.name: spec.sized({name: prompts for name in spec.shape if isinstance(name, str)})
        for spec in contract.inputs
    }
    return {name: rng.uniform(0, 60, shape).astype(np.float32) for name, shape in shapes.items()}


def test_the_decoder_runs_once_for_a_prompt(opened, decoder):
    first = feeds(opened, 5)
    expected = opened.sessions["sam_decoder"].run(first)
    for order in ([0, 1, 2, 3, 4], [4, 2], [1, 1, 3]):
        part = {name: feed if name == "sam_features" else feed[order] for name, feed in first.items()}
        for name, output in decoder.run(part).items():
            np.testing.assert_array_equal(output, expected[name][order])
    assert (decoder.asked, decoder.run_on) == (10, 5)
    twice = {name: feed if name == "sam_features" else feed[[0, 0]] for name, feed in feeds(opened, 1, 7).items()}
    decoder.run(twice)
    assert decoder.run_on == 6, "twice the same new prompt in one call"
    decoder.forget()
    decoder.run(first)
    assert decoder.run_on == 11


def test_prompts_that_differ_in_one_value_are_different(opened, decoder):
    first = feeds(opened, 1)
    for name in set(first) - {"sam_features"}:
        other = {**first, name: first[name] + np.float32(1)}
        decoder.run(other)
    assert decoder.run_on == len(first) - 1


def test_closing_leaves_the_engine_open(opened, decoder):
    decoder.close()
    with pytest.raises(EngineError, match="closed"):
        decoder.run(feeds(opened, 1))
    opened.sessions["sam_decoder"].run(feeds(opened, 1))


def test_thresholds_behind_the_decoder_cost_no_run_of_it(opened, words, tmp_path, monkeypatch):
    made = recorder(opened, words, tmp_path)
    made.record("0000")
    replay, calls = Replay(opened, made, words), []
    run = opened.sessions["sam_decoder"].run
    monkeypatch.setattr(
        opened.sessions["sam_decoder"], "run", lambda feeds, *into: calls.append(1) or run(feeds, *into)
    )
    replay.masks("0000", [EVERYTHING])
    once = len(calls)
    points = [
        {**EVERYTHING, "iou_threshold": iou, "min_area": area}
        for iou in (-10.0, 0.0, 1.0)
        for area in (1.0, 20.0, 90.0)
    ]
    replay.masks("0000", points)
    assert once and len(calls) == 2 * once, "the photo began anew, and then everything was remembered"
