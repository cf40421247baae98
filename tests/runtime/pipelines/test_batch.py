"""Several photos at once: order, bounds, errors, and one segmenter for several threads."""

import gc
import itertools
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ovdeploy.runtime import EngineError, ParameterError, PhotoError, Result, VocabularyError
from ovdeploy.runtime.geometry.limits import BATCH
from ovdeploy.runtime.pipelines.batch import in_order
from ovdeploy.runtime.pipelines.training_free.segmenter import TrainingFreeSegmenter
from support.samples import draw_photo, random_vocabulary
from support.segmenting import EVERYTHING, assert_same, faked, random_outputs

LONG = 20  # seconds, after which a test fails that would else wait for ever


def threads_of_ours():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ovdeploy")]


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_answers_come_in_the_items_order(workers, count):
    def slowest_first(item):
        time.sleep(0.002 * (3 - item % 4))
        return item

    assert list(in_order(slowest_first, range(count), workers)) == list(range(count))
    assert not threads_of_ours()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_are_in_work_as_there_are_workers(workers):
    together, now, most = threading.Barrier(workers), itertools.count(1), []
    running: set[int] = set()

    def work(item):
        running.add(item)
        most.append(len(running))
        together.wait(LONG)  # passed only by so many at once
        running.discard(item)
        return next(now)

    assert len(list(in_order(work, range(6 * workers), workers))) == 6 * workers
    assert max(most) <= workers


@pytest.mark.parametrize("workers", [1, 3])
def test_items_are_taken_as_they_are_needed_even_from_an_endless_source(workers):
    taken = []
    source = (taken.append(item) or item for item in itertools.count())
    answers = in_order(lambda item: item, source, workers)
    assert not taken, "nothing is begun before the first answer is asked for"
    for number in range(10):
        assert next(answers) == number
        assert len(taken) <= number + workers + 1
    answers.close()
    assert not threads_of_ours()


def test_an_exception_comes_in_its_place_and_ends_it():
    begun = []

    def work(item):
        begun.append(item)
        if item == 2:
            raise ValueError("two")
        return item

    answers = in_order(work, itertools.count(), 2)
    assert [next(answers), next(answers)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(answers)
    assert not threads_of_ours()
    assert max(begun) <= 5
    assert list(answers) == []


def test_an_exception_of_the_source_ends_it():
    def source():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(in_order(lambda item: item, source(), 2))
    assert not threads_of_ours()


def test_closing_waits_for_what_is_in_work_and_begins_nothing_new():
    ended, go = [], threading.Event()

    def work(item):
        if item:
            go.wait(LONG)
            time.sleep(0.05)
        ended.append(item)
        return item

    answers = in_order(work, itertools.count(), 2)
    assert next(answers) == 0
    go.set()
    answers.close()
    assert not threads_of_ours() and len(ended) <= 3


def test_answers_are_let_go():
    class Answer:
        pass

    alive: list[weakref.ref] = []

    def work(item):
        answer = Answer()
        alive.append(weakref.ref(answer))
        return answer

    for _ in in_order(work, range(50), 2):
        gc.collect()
        assert sum(reference() is not None for reference in alive) <= 2 + 2  # ours, and those that wait


@pytest.mark.parametrize("name", ["workers", "engines"])
@pytest.mark.parametrize("count", [0, -1])
def test_no_workers_are_refused_at_once(segmenter, vocabulary, name, count):
    with pytest.raises(ParameterError, match=name):
        segmenter.segment_many([], vocabulary, **{name: count})


def mixed(count):
    return [draw_photo((40 + 13 * (i % 5), 90 - 11 * (i % 4)), seed=i) for i in range(count)]


@pytest.mark.parametrize(("workers", "engines"), [(1, 1), (3, 1), (None, 2)])
def test_many_photos_give_what_each_alone_and_errors_in_their_place(segmenter, vocabulary, workers, engines):
    photos = mixed(7)
    expected = [segmenter.segment(photo, vocabulary, parameters=EVERYTHING) for photo in photos]
    source = (photo for photo in [*photos[:3], "missing.png", *photos[3:], np.zeros((0, 4, 3), np.uint8)])
    numbers = {"workers": workers, "engines": engines}
    results = list(segmenter.segment_many(source, vocabulary, parameters=EVERYTHING, **numbers))
    assert len(results) == 9
    assert isinstance(results.pop(8), PhotoError) and isinstance(results.pop(3), PhotoError)
    for result, alone in zip(results, expected, strict=True):
        assert_same(result, alone)


def test_what_fails_for_every_photo_is_raised_at_once(segmenter, vocabulary):
    with pytest.raises(ParameterError, match="strid"):
        segmenter.segment_many([], vocabulary, parameters={"strid": 1})
    with pytest.raises(VocabularyError, match="length"):
        segmenter.segment_many([], random_vocabulary(3))
    with pytest.raises(ParameterError, match="stride=50"):
        list(segmenter.segment_many(mixed(1), vocabulary, parameters={"stride": 50}))


def test_an_engine_that_fails_on_one_photo_does_not_stop_the_others(micro_bundle, vocabulary):
    calls = itertools.count()

    def sometimes(feeds):
        outputs = random_outputs(contract, feeds)
        return {name: array * np.nan for name, array in outputs.items()} if next(calls) == 1 else outputs

    segmenter, sessions = faked(micro_bundle, head=sometimes)
    contract = sessions["head"].contract
    results = list(segmenter.segment_many(mixed(4), vocabulary, workers=1))
    assert [isinstance(result, Result) for result in results] == [True, False, True, True]
    assert isinstance(results[1], EngineError) and "head" in str(results[1])


def test_a_segmenter_is_shared_by_threads(segmenter, vocabulary):
    """On ONNX Runtime, with photos of several sizes, two vocabularies and two sets of parameters."""
    other = random_vocabulary(vocabulary.embeddings.shape[1], seed=5)
    cases = [
        (photo, words, parameters)
        for photo in mixed(6)
        for words, parameters in ((vocabulary, EVERYTHING), (other, {"refine": False, "stride": 32}))
    ]
    expected = [segmenter.segment(photo, words, parameters=parameters) for photo, words, parameters in cases]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(segmenter.segment, p, words, parameters=q) for p, words, q in cases * 3]
        for future, alone in zip(futures, expected * 3, strict=True):
            assert_same(future.result(LONG * 10), alone)


def watched(micro_bundle, device, entered, left):
    """A segmenter over fakes that call `entered` on a photo's first engine and `left` on its last one."""

    def around(stage, call):
        def function(feeds):
            call()
            return random_outputs(contracts[stage], feeds)

        return function

    contracts: dict = {}
    segmenter, sessions = faked(micro_bundle, dino=around("dino", entered), sam_decoder=around("sam_decoder", left))
    contracts.update({stage: session.contract for stage, session in sessions.items()})
    for session in sessions.values():
        session.device = device
    return TrainingFreeSegmenter(segmenter.manifest, sessions)


ALL_AT_ONCE = {"region_threshold": 0.0, "min_area": 1, "prompt_batch": BATCH, "window_batch": BATCH}


def test_photos_take_turns_where_buffers_are_used_again(micro_bundle, vocabulary):
    inside: list[int] = []

    def entered():
        inside.append(1)
        time.sleep(0.01)
        assert len(inside) == 1, "another photo's engines have run since"

    segmenter = watched(micro_bundle, "cuda:0", entered, lambda: (time.sleep(0.01), inside.pop()))
    results = list(segmenter.segment_many(mixed(6), vocabulary, parameters=ALL_AT_ONCE, engines=3))
    assert all(isinstance(result, Result) for result in results) and not inside


@pytest.mark.parametrize("engines", [1, 2])
def test_engines_run_on_so_many_photos_at_once_and_no_more(micro_bundle, vocabulary, engines):
    """While as many photos as may are on their first engine, for a while no other gets to its own."""
    together, inside, most = threading.Barrier(engines), [], []

    def entered():
        inside.append(1)
        together.wait(LONG)
        time.sleep(0.02)
        most.append(len(inside))
        inside.pop()

    segmenter = watched(micro_bundle, "cpu", entered, lambda: None)
    photos = mixed(3 * engines)
    results = list(
        segmenter.segment_many(photos, vocabulary, parameters=ALL_AT_ONCE, workers=engines + 2, engines=engines)
    )
    assert all(isinstance(result, Result) for result in results)
    assert max(most) <= engines


def test_memory_does_not_grow_with_photos(micro_bundle, vocabulary):
    segmenter, sessions = faked(micro_bundle)

    def run(count):
        for _ in segmenter.segment_many((draw_photo((30 + i % 20, 40 + i % 7)) for i in range(count)), vocabulary):
            for session in sessions.values():
                session.calls.clear()  # fakes remember what they were fed
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    run(40)  # plans of more sizes than are kept
    before = run(20)
    after = run(60)
    tracemalloc.stop()
    assert after - before < 300_000  # plans of other sizes; a result alone, kept for each photo, would be 400 000
