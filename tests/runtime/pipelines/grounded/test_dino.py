"""Grounding DINO's host side: photo, words and boxes, against transformers and in loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovdeploy.export.models.miniature.wordpieces import write_wordpieces
from ovdeploy.runtime.errors import OvdeployWarning, VocabularyError
from ovdeploy.runtime.pipelines.grounded.dino import (
    DinoDetector,
    PhraseEmbedder,
    Text,
    detections,
    framed,
    seen_size,
    texts_of,
)
from ovdeploy.runtime.pipelines.grounded.parameters import GroundedParameters
from ovdeploy.runtime.pipelines.grounded.stages import GROUND_INPUTS
from ovdeploy.runtime.reporting import Clock
from ovdeploy.runtime.words.phrases import text_inputs
from ovdeploy.runtime.words.vocabulary import Vocabulary
from ovdeploy.runtime.words.wordpiece import PhraseTokenizer

TOKENS, WIDTH = 16, 4
SETTINGS = GroundedParameters()


class Engine:
    """A text engine whose features say which token stands where."""

    def run(self, feeds):
        tokens, places = feeds["tokens"][0], feeds["position_ids"][0]
        rows = np.stack([tokens, places, feeds["attends"][0].sum(1), np.ones_like(tokens)], 1)
        return {"text_features": rows[None].astype(np.float32)}

    def close(self):
        pass


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    write_wordpieces(path)
    return PhraseTokenizer(path, TOKENS)


def vocabulary(classes, tokenizer, folder, **more):
    embedder = PhraseEmbedder(Engine, lambda: tokenizer, "fake", folder)
    words = [word.strip() for synonyms in classes for word in synonyms.split(";")]
    return Vocabulary(classes, np.stack([embedder.embed(word, ["{}"]) for word in words]), **more)


# Photos


@given(st.integers(1, 4000), st.integers(1, 4000))
@example(480, 640)
@example(1, 4000)
@example(333, 1333)
@example(1, 889)
@example(100, 1338)
@settings(deadline=None)
def test_sizes_are_transformers(height, width):
    transforms = pytest.importorskip("transformers.image_transforms")
    theirs = transforms.get_size_with_aspect_ratio((height, width), 800, 1333)
    ours = seen_size((height, width), 1333)
    assert max(ours) <= 1333
    if max(theirs) <= 1333:  # it leaves a few photos larger
        assert ours == tuple(max(1, side) for side in theirs)


def test_a_photo_is_seen_as_transformers_processor_for_pillow_sees_it():
    processing = pytest.importorskip("transformers.models.grounding_dino.image_processing_pil_grounding_dino")
    photo = np.random.default_rng(0).integers(0, 256, (600, 500, 3), np.uint8)
    made = framed(photo, (1344, 1344))
    theirs = processing.GroundingDinoImageProcessorPil()(photo, return_tensors="np")
    height, width = made["extent"]
    assert theirs["pixel_values"].shape[2:] == (height, width)
    mean, deviation = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    ours = (made["image"][0, :, :height, :width] / 255 - mean) / deviation
    assert np.abs(ours - theirs["pixel_values"][0]).max() < 1e-5, "equal up to float32's normalisation"
    assert not made["image"][:, :, height:].any() and not made["image"][..., width:].any()


# Words


def test_texts_are_put_together_as_if_they_were_read_whole(tokenizer, tmp_path):
    names = ["red", "green striped", "a b c"]
    (text,) = texts_of(vocabulary(names, tokenizer, tmp_path), TOKENS)
    tokens = tokenizer.text(names)
    told = text_inputs([len(tokenizer.encode(name)) + 1 for name in names])
    whole = Engine().run({"tokens": tokens, "position_ids": told.position_ids, "attends": told.attends})
    assert np.array_equal(text.feeds["text_features"], whole["text_features"])
    assert np.array_equal(text.feeds["position_ids"], told.position_ids)
    assert np.array_equal(text.feeds["attends"], told.attends)


def test_synonyms_are_one_class_and_the_background_is_not_asked_about(tokenizer, tmp_path):
    made = vocabulary(["background; stuff", "red; green", "blue"], tokenizer, tmp_path)
    (text,) = texts_of(made, TOKENS)
    assert text.classes.tolist() == [1, 1, 2] and len(text.starts) == 3
    assert texts_of(vocabulary(["background"], tokenizer, tmp_path), TOKENS) == []


def test_300_words_go_through_in_passes_each_once(tokenizer, tmp_path):
    names = [f"{a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmno"]
    texts = texts_of(vocabulary(names, tokenizer, tmp_path), TOKENS)
    assert np.concatenate([text.classes for text in texts]).tolist() == list(range(300))
    assert all(text.feeds["text_features"].shape[1] <= 256 for text in texts) and len(texts) > 1


def test_names_that_are_the_same_to_bert_are_refused(tokenizer, tmp_path):
    with pytest.raises(VocabularyError, match="'cafe' and 'café' are the same to the detector"):
        texts_of(vocabulary(["cafe", "café"], tokenizer, tmp_path), TOKENS)


def test_names_are_checked_whatever_the_cache_holds(tokenizer, tmp_path):
    embedder = PhraseEmbedder(Engine, lambda: tokenizer, "fake", tmp_path)
    with pytest.warns(OvdeployWarning, match="is read as 'a b'"):
        embedder.embed("a. b", ["{}"])
    with pytest.warns(OvdeployWarning, match="is read as 'a b'"):
        embedder.check(["a. b"])
    with pytest.raises(VocabularyError, match="'cafe' and 'café' are the same to the detector"):
        embedder.check(["cafe", "sky", "café"])
    with pytest.raises(VocabularyError, match="sees nothing"):
        embedder.check(["??"])


@pytest.mark.parametrize("broken", [lambda rows: rows * 0, lambda rows: np.roll(rows, WIDTH, 1)])
def test_embeddings_of_another_model_are_refused(broken, tokenizer, tmp_path):
    good = vocabulary(["red", "blue"], tokenizer, tmp_path)
    rows = np.pad(good.embeddings[:, : 4 * WIDTH], ((0, 0), (0, (TOKENS - 4) * WIDTH)))
    with pytest.raises(VocabularyError, match="no phrases of this detector"):
        texts_of(Vocabulary(["red", "blue"], broken(rows)), TOKENS)


def test_a_detector_has_one_template(tokenizer, tmp_path):
    with pytest.raises(VocabularyError, match="expected one template, got 2"):
        PhraseEmbedder(Engine, lambda: tokenizer, "fake", tmp_path).embed("red", ["{}", "a {}"])


# Boxes


def one_text(lengths, classes):
    told = text_inputs(lengths)
    columns = np.flatnonzero(told.owners >= 0)
    starts = np.flatnonzero(np.r_[True, np.diff(told.owners[columns]) != 0])
    return Text({}, columns, starts, np.array(classes))


def test_boxes_and_scores_are_those_of_transformers_processor():
    torch = pytest.importorskip("torch")
    processing = pytest.importorskip("transformers.models.grounding_dino.processing_grounding_dino")
    random = np.random.default_rng(0)
    logits = random.normal(-1.5, 1.5, (200, 9)).astype(np.float32)
    boxes = random.random((200, 4)).astype(np.float32)
    padded = np.full((1, 200, 256), -np.inf, np.float32)
    padded[0, :, :9] = logits

    class Outputs:
        """What the processor asks for."""

        pred_boxes, input_ids = torch.from_numpy(boxes)[None], torch.zeros(1, 256, dtype=torch.long)

    Outputs.logits = torch.from_numpy(padded)
    processor = type("Processor", (), {"batch_decode": lambda self, ids: [len(each) for each in ids]})()
    theirs = processing.GroundingDinoProcessor.post_process_grounded_object_detection(
        processor, Outputs, threshold=0.25, target_sizes=[(480, 640)]
    )[0]
    every = detections(logits, boxes, one_text([3, 2, 2], [0, 1, 2]), (480, 640))
    ours = every.chosen(every.scores > 0.25)
    # of sums and products of float32 in the same order: a rounding of the largest coordinate
    assert len(ours.scores) and np.abs(ours.boxes - theirs["boxes"].numpy()).max() < 2e-4
    assert np.abs(ours.scores - theirs["scores"].numpy()).max() < 1e-6


def test_a_class_is_that_of_the_surest_word_above_the_threshold():
    random = np.random.default_rng(1)
    logits, boxes = random.normal(-1, 2, (50, 9)).astype(np.float32), random.random((50, 4)).astype(np.float32)
    text = one_text([3, 2, 2], [4, 4, 7])
    spans = {0: [1, 2], 1: [4], 2: [6]}
    wanted = []
    for row in logits:
        shares = 1 / (1 + np.exp(-row.astype(np.float64)))
        best, name = max((shares[span].max(), name) for name, span in spans.items())
        if shares.max() > 0.25 and best > 0.25:
            wanted.append([4, 4, 7][name])
    every = detections(logits, boxes, text, (10, 10))
    above = (every.scores > 0.25) & (every.word_scores > 0.25)
    assert 0 < above.sum() < 50 and every.chosen(above).classes.tolist() == wanted


def test_every_text_costs_one_run_and_no_text_none(tokenizer, tmp_path):
    fed = []

    class Detector:
        def run(self, feeds):
            fed.append(feeds)
            length = feeds["position_ids"].shape[1]
            return {"logits": np.full((1, 3, length), 2.0, np.float32), "boxes": np.full((1, 3, 4), 0.5, np.float32)}

    detector = DinoDetector(Detector(), (64, 64), TOKENS)
    photo, clock = np.zeros((20, 30, 3), np.uint8), Clock()
    seen = detector.seen(photo, SETTINGS, clock)
    names = [f"{a}{b}" for a in "abcdefghij" for b in "abcdefghij"]
    words = detector.words(vocabulary(names, tokenizer, tmp_path))
    found = detector.found(seen, words, (20, 30), clock)
    assert len(fed) == len(words) > 1 and len(found.boxes) == 3 * len(words)
    assert all(feeds.keys() == set(GROUND_INPUTS) for feeds in fed)
    assert found.boxes[0].tolist() == [7.5, 5, 22.5, 15]
    nothing = detector.found(seen, [], (20, 30), clock)
    assert nothing.boxes.shape == (0, 4) and len(fed) == len(words)
