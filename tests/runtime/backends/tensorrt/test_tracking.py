"""The tracker on a fake GPU: what crosses to it and back, what stays there, and what is given back when."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest

from ovdeploy.runtime import Bundle, Tracker
from ovdeploy.runtime.backends import registry
from ovdeploy.runtime.backends.tensorrt.blocks import KeptBlock
from ovdeploy.runtime.backends.tensorrt.cuda import Cuda
from ovdeploy.runtime.bundle.plan_building import build_plans
from ovdeploy.runtime.pipelines.tracking.tracker import STAGES
from ovdeploy.runtime.stage.arrays import DeviceArray
from support.sam2_video import clip
from support.tensorrt.world import World, install

SETTLED = 18
"""Frames after which nothing more is remembered than before."""
BOXES = ([30, 40, 90, 100], [150, 150, 210, 210], [70, 180, 110, 220])


@pytest.fixture
def world(monkeypatch):
    """Sessions of all libraries are one class, which `test_session.py` tries on each."""
    monkeypatch.setattr(registry, "find_spec", lambda name: name)
    return install(World(11), monkeypatch)


@pytest.fixture
def planned(world, micro_video_bundle, tmp_path):
    bundle = Bundle.load(shutil.copytree(micro_video_bundle, tmp_path / "b"))
    return build_plans(bundle, stages=STAGES, library=world.library)


def prompted(tracker, frame):
    for key, box in enumerate(BOXES):
        tracker.prompt(frame, key, box=box)


def copies(world, end):
    """Bytes of each copy from (`src`) or to (`dst`) the host."""
    calls = [given for name, given in world.cuda.record.calls if name == "cudaMemcpyAsync"]
    return [given["count"] for given in calls if given[end] in world.cuda.pinned]


def bytes_of(contract, names, **sizes):
    return [int(np.prod(contract.output(name).sized(sizes))) * 4 for name in names]


def test_memories_and_features_stay_on_the_gpu_and_the_answers_are_onnx_runtimes(world, planned):
    frames, up = clip(9), []
    with Tracker.load(planned.path, backend="onnxruntime", threads=1) as slow:
        prompted(slow, frames[0])
        expected = [slow.step(frame) for frame in frames]
    with Tracker.load(planned.path, backend=world.library) as fast:
        prompted(fast, frames[0])
        for frame, wanted in zip(frames, expected, strict=True):
            world.cuda.record.calls.clear()
            for ours, theirs in zip(fast.step(frame).objects, wanted.objects, strict=True):
                np.testing.assert_array_equal(ours.low_res_logits, theirs.low_res_logits)
            up.append(sum(copies(world, "src")))
        down = copies(world, "dst")
        held = fast._following.objects[0].tracked[8].memory
        assert isinstance(held, DeviceArray)
        each = held.nbytes
        del held
    contracts = {stage: planned.stage(stage).contract for stage in STAGES}
    told = bytes_of(contracts["sam_track_decoder"], ("low_res_logits", "iou", "pointers", "object_score"), R=3)
    (made,) = bytes_of(contracts["sam_memory_encoder"], ("memory",), O=3)
    assert sorted(down) == sorted([*told, made]), "neither features nor what attention made of them come to the host"
    assert max(up[1:]) - min(up[1:]) < each, "a frame that reads six memories sends as much as one that reads one"
    assert not world.cuda.memory and not world.cuda.pinned, "a closed tracker holds nothing"


def test_memory_on_the_gpu_is_bounded_and_goes_with_the_objects(world, planned):
    frames = clip(SETTLED + 2)
    with Tracker.load(planned.path, backend=world.library) as tracker:
        alone = {}
        tracker.prompt(frames[0], 1, box=BOXES[0])
        for number, frame in enumerate(frames):
            tracker.step(frame)
            alone[number] = len(world.cuda.memory)
        assert len({alone[number] for number in range(SETTLED, len(frames))}) == 1
        known = tracker._following.objects[1]
        moments = len(known.prompted) + len(known.tracked)
        tracker.forget(1)
        del known
        assert len(world.cuda.memory) == alone[SETTLED] - moments


# What is freed in another thread, or at another moment


@pytest.fixture
def gpu(monkeypatch):
    world = install(World(11, devices=2), monkeypatch)
    cuda = Cuda(0)
    yield world.cuda, cuda
    cuda.close()
    assert not world.cuda.memory


def elsewhere(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_thread_without_a_gpu_of_its_own_frees_at_once(gpu):
    world, cuda = gpu
    blocks = [KeptBlock(cuda, 10)]
    elsewhere(blocks.clear)
    assert not world.memory


def test_a_thread_whose_gpu_is_another_leaves_it_and_its_memory_waits_for_the_next_allocation(gpu):
    world, cuda = gpu
    blocks, seen = [KeptBlock(cuda, 10)], []

    def work():
        world.cudaSetDevice(1)
        blocks.clear()
        seen.append(world.cudaGetDevice()[1])

    elsewhere(work)
    assert seen == [1] and len(world.memory) == 1
    cuda.free(cuda.allocate(20))
    assert not world.memory


def test_what_is_let_go_of_during_a_capture_is_freed_after_it(gpu):
    """By this thread, whichever engine's stream is captured."""
    world, cuda = gpu
    other = Cuda(0)
    for which in (cuda, other):
        blocks = [KeptBlock(cuda, 10)]
        cuda.forget(which.capture(blocks.clear))
        assert len(world.memory) == 1, "a capture is not disturbed"
        cuda.free(cuda.allocate(20))
        assert not world.memory
    other.close()


def test_what_is_let_go_of_when_the_engines_are_closed_is_freed(gpu):
    world, cuda = gpu
    blocks = [KeptBlock(cuda, 10)]
    cuda.close()
    blocks.clear()
    assert not world.memory
