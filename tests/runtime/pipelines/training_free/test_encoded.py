"""A photo that is encoded once gives each vocabulary what it would get anew, and engines run for words alone."""

import threading

import numpy as np
import pytest

from ovdeploy.runtime import EncodedPhotos, EngineError, ParameterError, PhotoError, Segmenter, VocabularyError
from ovdeploy.runtime.labelling.remembering import RememberingDecoder
from support.samples import draw_photo, random_vocabulary
from support.segmenting import EVERYTHING, assert_same

SETTINGS = [{}, EVERYTHING, {"refine": False}, {"sam_halves": True, **EVERYTHING}, {"sam_halves": True}]


def words_of(segmenter, seed=0):
    return random_vocabulary(segmenter.manifest.dimensions.embedding, seed)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_vocabulary_gets_what_it_would_have_got_anew(ort_segmenter, photo, settings):
    encoded = ort_segmenter.encode(photo, parameters=settings)
    for seed in (0, 1, 0):
        words = words_of(ort_segmenter, seed)
        expected = ort_segmenter.segment(photo, words, parameters=settings)
        assert_same(encoded.segment(words), expected)
    assert set(encoded.timings) >= {"decode", "windows", "clip_image", "total"}


def test_only_engines_that_know_words_run(ort_segmenter, photo):
    encoded = ort_segmenter.encode(photo, parameters=EVERYTHING)
    with ort_segmenter.engines.counted() as calls:
        first = encoded.segment(words_of(ort_segmenter))
        assert set(calls) == {"head", "sam_decoder"}
        asked = len(calls["sam_decoder"])
        assert_same(encoded.segment(words_of(ort_segmenter)), first)
        assert len(calls["sam_decoder"]) == asked, "its regions were asked about before"
        assert len(calls["head"]) == 2
    assert {"head", "coarse", "merge", "total"} <= set(first.timings) and "clip_image" not in first.timings


def test_sam_runs_when_refinement_is_first_asked_for(ort_segmenter, photo):
    encoded = ort_segmenter.encode(photo, parameters={"refine": False, "sam_halves": True})
    words = words_of(ort_segmenter)
    with ort_segmenter.engines.counted() as calls:
        for _ in range(2):
            again = {**EVERYTHING, "sam_halves": True, "refine": True}
            assert_same(encoded.segment(words, parameters=again), ort_segmenter.segment(photo, words, parameters=again))
    assert len(calls["sam_encoder"]) == 1 + 2 * 3, "once here, and thrice for each photo from the beginning"


@pytest.mark.parametrize("name", ["stride", "short_side", "affinity_factor"])
def test_what_would_be_encoded_otherwise_is_refused(ort_segmenter, photo, name):
    encoded = ort_segmenter.encode(photo)
    now = getattr(ort_segmenter.parameters, name)
    other = {name: now * 2 if name != "stride" else now // 2}
    with pytest.raises(ParameterError, match=f"encoded anew for {name}="):
        encoded.segment(words_of(ort_segmenter), parameters=other)
    same = encoded.segment(words_of(ort_segmenter), parameters={name: now, "logit_scale": 3.0})
    assert_same(same, ort_segmenter.segment(photo, words_of(ort_segmenter), parameters={"logit_scale": 3.0}))


def test_what_was_said_when_it_was_encoded_holds(ort_segmenter, photo):
    settings = {"logit_scale": 5.0, "probability_threshold": 0.0, **EVERYTHING}
    encoded = ort_segmenter.encode(photo, parameters=settings)
    words = words_of(ort_segmenter)
    assert_same(encoded.segment(words), ort_segmenter.segment(photo, words, parameters=settings))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_can_be_saved_and_read(ort_segmenter, photo, tmp_path, settings):
    encoded = ort_segmenter.encode(photo, parameters=settings)
    encoded.save(tmp_path / "photo.npz")
    words, read = words_of(ort_segmenter), ort_segmenter.load_encoded(tmp_path / "photo.npz")
    calls = {"refine": settings.get("refine", True), **EVERYTHING}
    assert_same(read.segment(words, parameters=calls), encoded.segment(words, parameters=calls))
    assert (read.path, read.nbytes > 0) == (encoded.path, True)


def test_another_backend_reads_it_too(ort_segmenter, segmenter, photo, tmp_path):
    ort_segmenter.encode(photo).save(tmp_path / "photo.npz")
    words = words_of(segmenter)
    answers = [each.load_encoded(tmp_path / "photo.npz").segment(words).mask for each in (segmenter, ort_segmenter)]
    assert (answers[0] == answers[1]).mean() > 0.99, "both compute the head in float32"


def test_what_was_said_when_it_was_encoded_is_saved_too(ort_segmenter, photo, tmp_path):
    encoded = ort_segmenter.encode(photo, parameters={"refine": False, "logit_scale": 3.0})
    encoded.save(tmp_path / "photo.npz")
    words = words_of(ort_segmenter)
    assert_same(ort_segmenter.load_encoded(tmp_path / "photo.npz").segment(words), encoded.segment(words))


def test_a_photo_whose_name_is_no_utf_8_is_saved_too(ort_segmenter, photo, tmp_path):
    encoded = ort_segmenter.encode(photo)
    encoded.path = "photo\udcff.jpg"
    encoded.save(tmp_path / "photo.npz")
    assert ort_segmenter.load_encoded(tmp_path / "photo.npz").path == "photo\udcff.jpg"


@pytest.mark.parametrize("change", ["more", "fewer", "windows", "packed", "named"])
def test_a_file_that_cannot_be_of_its_photo_is_refused(ort_segmenter, photo, tmp_path, change):
    encoded, path = ort_segmenter.encode(photo), tmp_path / "photo.npz"
    affinities, windows = encoded.made.affinities, encoded.made.windows
    if change == "more":
        encoded.made = encoded.made._replace(affinities=affinities * 2)
    elif change == "fewer":
        encoded.made = encoded.made._replace(affinities=())
    elif change == "windows":
        encoded.made = encoded.made._replace(windows=windows[:, :0])
    encoded.save(path)
    if change in ("packed", "named"):
        with np.load(path) as arrays:
            kept = dict(arrays)
        save = np.savez_compressed if change == "packed" else np.savez
        save(path, **kept, **({"more": np.zeros(3)} if change == "named" else {}))
    with pytest.raises(PhotoError, match=r"photo\.npz is no encoded photo"):
        ort_segmenter.load_encoded(path)


def test_results_share_pixels_that_nobody_can_change(ort_segmenter, photo):
    result = ort_segmenter.encode(photo).segment(words_of(ort_segmenter))
    with pytest.raises(ValueError, match="read-only"):
        result.photo[0, 0] = 0
    assert photo.flags.writeable, "the array that was given is not shared"
    result.overlay()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other", "missing", "folder"])
def test_what_is_no_encoded_photo_is_told(ort_segmenter, photo, tmp_path, damage):
    path = tmp_path / "photo.npz"
    ort_segmenter.encode(photo).save(path)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"" if damage == "empty" else content)
    if damage == "other":
        np.savez(path, about=np.zeros(3, np.uint8))
    elif damage in ("missing", "folder"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
    with pytest.raises(PhotoError, match=r"photo\.npz"):
        ort_segmenter.load_encoded(path)


def test_one_of_another_bundle_is_refused(ort_segmenter, photo, tmp_path):
    path = tmp_path / "photo.npz"
    encoded = ort_segmenter.encode(photo)
    encoded._bundle = "0" * 64
    encoded.save(path)
    with pytest.raises(PhotoError, match="another bundle"):
        ort_segmenter.load_encoded(path)


def test_words_of_another_model_and_closed_engines_are_refused(micro_bundle, photo):
    with Segmenter.load(micro_bundle, backend="onnxruntime") as opened:
        encoded, words = opened.encode(photo), words_of(opened)
        with pytest.raises(VocabularyError):
            encoded.segment(random_vocabulary(opened.manifest.dimensions.embedding + 1))
    with pytest.raises(EngineError, match="closed"):
        encoded.segment(words)
    with pytest.raises(EngineError, match="closed"):
        opened.encode(photo)


def test_threads_may_share_one(ort_segmenter, photo):
    encoded = ort_segmenter.encode(photo, parameters=EVERYTHING)
    expected = [ort_segmenter.segment(photo, words_of(ort_segmenter, seed), parameters=EVERYTHING) for seed in range(4)]
    answers = [None] * 4

    def ask(seed):
        answers[seed] = encoded.segment(words_of(ort_segmenter, seed))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer, wanted in zip(answers, expected, strict=True):
        assert_same(answer, wanted)


def test_a_hundred_vocabularies_take_no_more_memory_than_is_allowed(ort_segmenter, photo):
    encoded = ort_segmenter.encode(photo, parameters=EVERYTHING)
    encoded.segment(words_of(ort_segmenter))
    decoder = encoded.decoder
    decoder._most = most = 3 * decoder.nbytes
    sizes = []
    for seed in range(100):
        encoded.segment(words_of(ort_segmenter, seed))
        sizes.append(decoder.nbytes)
    assert max(sizes) <= most and sizes[-1] > most // 2, "the newest are kept"
    run_on = decoder.run_on
    encoded.segment(words_of(ort_segmenter, 99))
    assert decoder.run_on == run_on


def test_answers_that_were_asked_for_longest_ago_go_first(ort_segmenter):
    engine = ort_segmenter.sessions["sam_decoder"]
    rng = np.random.default_rng(0)
    sizes = {name: 3 for spec in engine.contract.inputs for name in spec.shape if isinstance(name, str)}
    feeds = {spec.name: rng.uniform(0, 60, spec.sized(sizes)).astype(np.float32) for spec in engine.contract.inputs}
    decoder = RememberingDecoder(engine, {"sam_features"})

    def ask(*rows):
        return decoder.run({name: feed if name == "sam_features" else feed[list(rows)] for name, feed in feeds.items()})

    one = (ask(0), decoder.nbytes)[1]
    decoder._most = 2 * one
    ask(1), ask(0), ask(2)
    assert (decoder.nbytes, decoder.run_on) == (2 * one, 3)
    ask(0)
    assert decoder.run_on == 3
    ask(1)
    assert decoder.run_on == 4, "it was asked for longest ago"
    decoder._most = 0
    np.testing.assert_array_equal(ask(0, 1, 2)["iou"], engine.run(feeds)["iou"])
    assert decoder.nbytes == 0


def test_photos_with_the_same_pixels_are_encoded_once(ort_segmenter, tmp_path):
    photos = [draw_photo((40, 52), seed) for seed in range(3)]
    kept = EncodedPhotos(ort_segmenter)
    first = kept.encode(photos[0])
    assert kept.encode(photos[0][..., ::-1].copy(), color="bgr") is first and (kept.encoded, kept.found) == (1, 1)
    assert_same(first.segment(words_of(ort_segmenter)), ort_segmenter.segment(photos[0], words_of(ort_segmenter)))
    small = EncodedPhotos(ort_segmenter, most_bytes=int(2.5 * first.nbytes))
    for index in (0, 1, 0, 2, 0):
        small.encode(photos[index])
    assert (len(small), small.encoded, small.found) == (2, 3, 2) and small.nbytes <= 2.5 * first.nbytes
    asked = EncodedPhotos(ort_segmenter, most_bytes=int(2.5 * first.nbytes))
    for each in (asked.encode(photos[0]), asked.encode(photos[1])):
        for seed in range(40):
            each.segment(words_of(ort_segmenter, seed), parameters=EVERYTHING)
    assert asked.nbytes > 2.5 * first.nbytes, "they grow as they are asked about"
    asked.encode(photos[0])
    assert len(asked) == 1, "and room is made when one is asked for"
    none = EncodedPhotos(ort_segmenter, most_bytes=0)
    none.encode(photos[0]), none.encode(photos[1])
    assert len(none) == 1, "one is kept whatever its size"
