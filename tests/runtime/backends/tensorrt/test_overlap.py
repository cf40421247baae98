"""SAM's encoder beside DINO and CLIP, on a fake GPU whose streams do nothing before they are waited for."""

import threading

import numpy as np
import pytest

from ovdeploy.runtime import EngineError, Segmenter
from ovdeploy.runtime.backends import registry
from ovdeploy.runtime.bundle.plan_building import build_plans
from support.segmenting import EVERYTHING
from support.tensorrt.world import World, install

LONG = 20  # seconds, after which a test fails that would else wait for ever
OPTIONS = {"tensorrt": {}, "tensorrt-rtx": {"overlap": "on", "cuda-graphs": "off"}}


@pytest.fixture(params=[11, "rtx"])
def world(request, monkeypatch):
    return install(World(request.param), monkeypatch)


@pytest.fixture
def planned(world, bundle, monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: name)
    return build_plans(bundle, library=world.library)


def loaded(world, planned, **options):
    return Segmenter.load(
        planned.path, backend=world.library, parameters=EVERYTHING,
        backend_options={**OPTIONS[world.library], **options},
    )  # fmt: skip


class Rendezvous:
    """SAM's encoder and CLIP, each of which waits in the middle of its work until the other is there too."""

    def __init__(self, world):
        self.barrier, self.threads = threading.Barrier(2, timeout=LONG), {}
        world.computing = self

    def __call__(self, names):
        stage = "sam_encoder" if "affinity" in names and "image" in names else "clip_image"
        if stage not in self.threads and (stage == "sam_encoder" or "dino_features" in names):
            self.threads[stage] = threading.current_thread()
            self.barrier.wait()


def test_sams_encoder_runs_beside_clip_and_the_mask_is_the_same(planned, world, ort_segmenter, vocabulary, photo):
    expected = ort_segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    with loaded(world, planned) as fast:
        meeting = Rendezvous(world)
        result = fast.segment(photo, vocabulary)
        assert set(meeting.threads) == {"sam_encoder", "clip_image"}, "both were at work at once"
        assert meeting.threads["clip_image"] is threading.current_thread() is not meeting.threads["sam_encoder"]
        assert result.mask.tobytes() == expected.mask.tobytes()
        assert 0 < result.timings["overlap"] < result.timings["total"]
        fast.warmup()  # which captures graphs, one engine at a time
        for _ in range(3):
            assert fast.segment(photo, vocabulary).mask.tobytes() == expected.mask.tobytes()
        encoded = fast.encode(photo)
        assert encoded.segment(vocabulary).mask.tobytes() == expected.mask.tobytes()
        del encoded
    assert not world.cuda.memory and not world.cuda.pinned and not world.cuda.streams, "all is given back"


def test_turned_off_all_engines_run_in_the_callers_thread(planned, world, vocabulary, photo):
    seen = set()
    world.computing = lambda names: seen.add(threading.current_thread())
    with loaded(world, planned, overlap="off") as fast:
        assert not any(session.overlaps for session in fast.sessions.values())
        assert "overlap" not in fast.segment(photo, vocabulary).timings
    assert seen == {threading.current_thread()}


def test_by_default_tensorrt_overlaps_and_the_library_that_captures_by_itself_does_not(planned, world):
    with Segmenter.load(planned.path, backend=world.library) as fast:
        assert {session.overlaps for session in fast.sessions.values()} == {world.library == "tensorrt"}


@pytest.mark.parametrize("failing", ["affinity", "mean_similarity"])
def test_an_error_in_one_engine_is_told_when_the_other_is_done_and_the_next_photo_is_whole(
    planned, world, ort_segmenter, vocabulary, photo, failing
):
    expected = ort_segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    with loaded(world, planned) as fast:
        done, fault = [], [True]

        def computing(names):
            if failing in names and fault:
                raise RuntimeError("planted")
            done.extend(names & {"affinity", "mean_similarity"})

        world.computing = computing
        with pytest.raises(EngineError, match="engine failed: planted") as caught:
            fast.segment(photo, vocabulary)
        assert caught.value.stage in {"affinity": ("sam_encoder",), "mean_similarity": ("dino", "clip_image")}[failing]
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("ovdeploy-beside")]
        assert {"affinity", "mean_similarity"} - {failing} <= set(done), "the other one was waited for"
        fault.clear()
        for stream in world.cuda.streams.values():
            stream.work.clear()  # a true GPU would not stop in the middle of a stream
        assert fast.segment(photo, vocabulary).mask.tobytes() == expected.mask.tobytes()


def test_closing_waits_for_the_photo_in_work(planned, world, ort_segmenter, vocabulary, photo):
    expected = ort_segmenter.segment(photo, vocabulary, parameters=EVERYTHING)
    fast = loaded(world, planned)
    begun, answers = threading.Event(), []

    def computing(names):
        begun.set()

    world.computing = computing
    working = threading.Thread(target=lambda: answers.append(fast.segment(photo, vocabulary)))
    working.start()
    assert begun.wait(LONG)
    fast.close()
    working.join(LONG)
    assert [answer.mask.tobytes() for answer in answers] == [expected.mask.tobytes()]
    assert not world.cuda.memory and not world.cuda.streams
    with pytest.raises(EngineError, match="closed"):
        fast.segment(photo, vocabulary)


def test_what_is_kept_of_a_photo_is_there_before_another_stream_reads_it(planned, world, photo):
    with loaded(world, planned) as fast:
        encoder = fast.sessions["sam_encoder"]
        encoded = fast.encode(photo)
        assert all(np.isfinite(array.numpy()).all() for array in encoded.arrays().values())
        assert not any(stream.work for stream in world.cuda.streams.values()) and encoder.overlaps
