"""Arrays are copied when they are taken: a camera may fill its buffer again, and users may change what was theirs."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime import PhotoError, Vocabulary, VocabularyError
from ovdeploy.runtime.answers.result import Result
from ovdeploy.runtime.geometry.limits import CLASSES
from ovdeploy.runtime.geometry.photo_tables import PhotoTables
from ovdeploy.runtime.geometry.sizes import bilinear_matrix
from ovdeploy.runtime.labelling.coarse import coarse_mask
from ovdeploy.runtime.photo.reading import Taken, as_photo, take
from support.samples import draw_photo
from support.segmenting import assert_same, faked, random_outputs

HW = (60, 80)


@pytest.fixture
def seeing(micro_bundle):
    """A segmenter whose logits follow from the photo: masks of other photos are others."""

    def windows(feeds):
        contract = sessions["clip_image"].contract
        return {
            name: array * feeds["windows"].mean(axis=(1, 2, 3)).reshape(-1, *[1] * (array.ndim - 1))
            for name, array in random_outputs(contract, feeds).items()
        }

    def head(feeds):
        made = random_outputs(sessions["head"].contract, feeds)["logits"]
        level = float(feeds["window_features"].mean())
        return {"logits": np.roll(made, int(level * 1e5), axis=0) * np.float32(0.1 + level)}

    segmenter, sessions = faked(micro_bundle, clip_image=windows, head=head)
    return segmenter


@pytest.mark.parametrize("workers", [1, 3])
def test_a_camera_that_fills_one_buffer_again_gets_the_masks_of_its_frames(seeing, vocabulary, workers):
    frames = [draw_photo(HW, seed) for seed in range(8)]
    expected = [seeing.segment(frame, vocabulary) for frame in frames]
    assert len({each.scores.tobytes() for each in expected}) == len(frames), "else it could not fail"
    buffer = np.empty_like(frames[0])

    def camera():
        for frame in frames:
            buffer[...] = frame
            yield buffer

    came = []
    for result in seeing.segment_many(camera(), vocabulary, workers=workers):
        came.append(result)
        buffer[...] = 0
    for one, other, frame in zip(came, expected, frames, strict=True):
        assert_same(one, other)
        np.testing.assert_array_equal(one.photo, frame)


def test_what_is_no_photo_stands_in_its_place_among_arrays(seeing, vocabulary):
    photos = [draw_photo(HW), np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5)), 7, draw_photo(HW)]
    came = list(seeing.segment_many(photos, vocabulary))
    assert [isinstance(each, PhotoError) for each in came] == [False, True, True, True, False]


def test_an_array_that_is_too_large_is_not_copied_before_it_is_refused(seeing, vocabulary):
    endless = np.broadcast_to(np.zeros(3, np.uint8), (60_000, 60_000, 3))  # a copy would take 10.8 GB
    (error,) = seeing.segment_many([endless], vocabulary)
    assert isinstance(error, PhotoError) and "max_pixels" in str(error)


def test_a_result_keeps_its_photo_whatever_becomes_of_the_array(seeing, vocabulary):
    photo = draw_photo(HW)
    result = seeing.segment(photo, vocabulary)
    before = result.photo.copy()
    photo[...] = 0
    np.testing.assert_array_equal(result.photo, before)


def test_a_prompted_photo_keeps_its_pixels(micro_bundle):
    from ovdeploy.runtime.pipelines.promptable.interactive import Prompter

    photo = draw_photo(HW)
    segmenter, sessions = faked(micro_bundle)
    encoder = sessions["sam_encoder"]
    encoded = Prompter(segmenter.manifest.dimensions, encoder, encoder, segmenter.parameters).encode(photo)
    photo[...] = 0
    np.testing.assert_array_equal(encoded.photo, draw_photo(HW))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["C", "F"]), st.booleans(), st.booleans())
def test_no_array_is_shared_with_the_one_that_was_given(order, reversed_rows, frozen):
    photo = np.array(draw_photo((7, 9)), order=order)[:: -1 if reversed_rows else 1]
    photo.flags.writeable = not frozen
    taken = take(photo)
    assert isinstance(taken, Taken) and not np.shares_memory(taken.pixels, photo)
    assert as_photo(taken) is taken.pixels, "it is copied once"
    np.testing.assert_array_equal(taken.pixels, photo)
    assert taken.pixels.flags.c_contiguous and taken.pixels.flags.writeable


def test_a_vocabulary_keeps_its_embeddings_whatever_becomes_of_the_array():
    rows = np.eye(2, dtype=np.float32)
    vocabulary = Vocabulary(["a", "b"], rows)
    rows[...] = 7
    np.testing.assert_array_equal(vocabulary.embeddings, np.eye(2))


def test_segment_many_may_be_fed_by_another_thread(seeing, vocabulary):
    """The copy is made where the item is taken: whoever fills the buffer waits for that alone."""
    buffer, free, full = np.empty((*HW, 3), np.uint8), threading.Semaphore(1), threading.Semaphore(0)

    def fill():
        for seed in range(4):
            free.acquire()
            buffer[...] = draw_photo(HW, seed)
            full.release()

    def frames():
        for _ in range(4):
            full.acquire()
            yield buffer
            free.release()

    thread = threading.Thread(target=fill)
    thread.start()
    came = list(seeing.segment_many(frames(), vocabulary, workers=2))
    thread.join()
    for seed, result in enumerate(came):
        np.testing.assert_array_equal(result.photo, draw_photo(HW, seed))


def test_as_many_classes_as_16_bits_have_keep_their_index_and_one_more_is_refused(tmp_path):
    from PIL import Image

    names = [f"class {index}" for index in range(CLASSES)]
    vocabulary = Vocabulary(names, np.zeros((CLASSES, 1)))
    logits = np.zeros((CLASSES, 1, 1), np.float32)
    logits[-1] = 1
    tables = PhotoTables.of(bilinear_matrix(1, 2), bilinear_matrix(1, 3))
    coarse = coarse_mask(logits, tables, vocabulary.query_starts, logit_scale=40.0, probability_threshold=0.0)
    assert (coarse.labels == CLASSES - 1).all()
    photo = np.zeros((2, 3, 3), np.uint8)
    result = Result(coarse.labels, coarse.labels, coarse.scores, vocabulary.names, (), {}, photo)
    result.save_mask(tmp_path / "mask.png")
    assert (np.asarray(Image.open(tmp_path / "mask.png")) == CLASSES - 1).all()
    with pytest.raises(VocabularyError, match=r"more than 65,535 classes.*16 bits"):
        Vocabulary([*names, "one more"], np.zeros((CLASSES + 1, 1)))
    wide = Result(coarse.labels, coarse.labels, coarse.scores, (*names, "x", "y"), (), {}, photo)
    for save in (wide.save_mask, wide.save_overlay):
        with pytest.raises(VocabularyError, match="65,537"):
            save(tmp_path / "wide.png")
        assert not (tmp_path / "wide.png").exists()
