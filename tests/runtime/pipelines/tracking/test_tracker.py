"""The tracker: its engines, what it keeps, and its edges."""

from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.export.reference.tracking.reference import torch_tracker
from ovdeploy.runtime import Tracker
from ovdeploy.runtime.errors import EngineError, OvdeployWarning, ParameterError, PromptError, RecipeError
from ovdeploy.runtime.pipelines.tracking.choosing import filled
from ovdeploy.runtime.pipelines.tracking.memory import Moment, ObjectMemory, closest, to_bfloat16
from ovdeploy.runtime.recipe.recipe import recipe_from
from support.sam2_video import clip

POINT = [[60, 70]]


@pytest.fixture
def networks(micro_video_networks):
    return micro_video_networks


@pytest.fixture
def bundle(micro_video_bundle):
    return micro_video_bundle


def tracked(tracker, frames):
    tracker.prompt(frames[0], 7, points=POINT)
    tracker.prompt(frames[0], 9, box=[150, 150, 210, 210])
    return [tracker.step(frame) for frame in frames]


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_track_as_the_modules_do(backend, bundle, networks):
    frames = clip(6)
    with Tracker.load(bundle, backend=backend, threads=1) as tracker:
        ours = tracked(tracker, frames)
    for came, expected in zip(ours, tracked(torch_tracker(networks), frames), strict=True):
        assert came.index == expected.index and [each.id for each in came.objects] == [7, 9]
        for a, b in zip(came.objects, expected.objects, strict=True):
            top = np.abs(b.low_res_logits).max()
            # float32 in another order, through 6 frames of memory
            np.testing.assert_allclose(a.low_res_logits, b.low_res_logits, atol=1e-4 * top)
            assert (a.mask == b.mask).mean() >= 0.9999


def test_objects_that_read_the_same_frames_share_a_call(networks):
    frames = clip(3)
    tracker = torch_tracker(networks)
    calls = []
    tracker._sessions["sam_memory_attention"].listener = calls.append
    tracked(tracker, frames)
    assert [call["O"] for call in calls] == [2, 2]


def test_a_frame_that_was_prompted_is_the_one_that_is_stepped_on(networks):
    frames = clip(3)
    tracker = torch_tracker(networks)
    assert tracker.next_index == 0 and tracker.step(frames[0]).objects == ()
    tracker.prompt(frames[1], 1, points=POINT)
    assert tracker.step(frames[1]).index == 1 and tracker.next_index == 2
    tracker.forget(1)
    empty = tracker.step(frames[2]).labels()
    assert not tracker.object_ids and empty.shape == (256, 256) and not empty.any()
    tracker.reset()
    assert tracker.next_index == 0


def test_backward_reads_the_frames_after(networks):
    frames = clip(4)
    one, other = torch_tracker(networks), torch_tracker(networks)
    one.prompt(frames[0], 1, points=POINT)
    forward = [one.step(frame).objects[0] for frame in frames]
    other.prompt(frames[0], 1, points=POINT, index=3)
    back = [other.step(frame, index=3 - t, reverse=True).objects[0] for t, frame in enumerate(frames)]
    for a, b in zip(forward, back, strict=True):
        np.testing.assert_array_equal(a.low_res_logits, b.low_res_logits)


def test_a_prompt_on_a_new_frame_is_on_the_next_in_the_videos_way(networks):
    frames = clip(3)
    tracker = torch_tracker(networks)
    tracker.prompt(frames[0], 1, points=POINT, index=5)
    tracker.step(frames[0], index=5)
    tracker.prompt(frames[1], 2, points=POINT, reverse=True)
    assert tracker.step(frames[1], reverse=True).index == 4
    tracker.prompt(frames[2], 3, points=POINT)
    assert tracker.step(frames[2]).index == 5


def test_without_an_index_no_frame_is_taken_for_another_that_was_prompted(networks):
    frames = clip(3)
    tracker = torch_tracker(networks)
    tracker.prompt(frames[0], 1, points=POINT, index=0)
    tracker.prompt(frames[2], 1, points=POINT, index=9)
    for call in (tracker.step, lambda frame: tracker.prompt(frame, 2, points=POINT)):
        with pytest.raises(ParameterError, match=r"frame 9 was prompted and not stepped on yet.*give this one's index"):
            call(frames[0])
    assert tracker.object_ids == (1,)
    assert tracker.step(frames[0], index=0).index == 0 and tracker.step(frames[1]).index == 1


def test_corrections_of_several_frames_stay_when_they_are_stepped_on_again(networks):
    frames, tracker = clip(4), torch_tracker(networks)
    tracker.prompt(frames[0], 1, points=POINT)
    for frame in frames:
        tracker.step(frame)
    asked = [tracker.prompt(frames[k], 1, points=[[120, 130]], index=k) for k in (1, 2)]
    again = [tracker.step(frames[k], index=k).objects[0] for k in (1, 2)]
    for one, other in zip(asked, again, strict=True):
        np.testing.assert_array_equal(one.low_res_logits, other.low_res_logits)


def test_a_frame_of_another_size_is_told(networks):
    frames, tracker = clip(2), torch_tracker(networks)
    tracker.prompt(frames[0], 1, points=POINT)
    tracker.step(frames[0])
    with pytest.warns(OvdeployWarning, match="a frame is 200×256, the one before was 256×256"):
        tracker.step(np.ascontiguousarray(frames[1][:, :200]))


def test_a_mask_too_small_for_the_model_is_told(networks):
    tracker, frame, mask = torch_tracker(networks), np.zeros((1600, 1600, 3), np.uint8), np.zeros((1600, 1600), bool)
    mask[800, 800] = True
    with pytest.warns(OvdeployWarning, match="a mask vanishes"):
        assert not tracker.prompt(frame, 1, mask=mask).present


def test_all_are_remembered_as_hard_masks_only_where_a_prompt_is_new(networks, monkeypatch):
    frames, tracker, hard = clip(2), torch_tracker(networks, {"binarise_all": True}), []
    remember = tracker._calls.remember

    def heard(seen, logits, binarise, scores):
        hard.append(bool(binarise[0]))
        return remember(seen, logits, binarise, scores)

    tracker.prompt(frames[0], 1, points=POINT)
    tracker.step(frames[0])
    tracker.prompt(frames[1], 2, points=POINT, index=1)
    monkeypatch.setattr(tracker._calls, "remember", heard)
    tracker.step(frames[1])
    tracker.step(frames[1], index=1)
    assert hard == [True, False], "object 1 is found anew each time; object 2 keeps its answer"


def test_objects_kept_apart_share_no_pixel(networks):
    tracker = torch_tracker(networks, {"overlap": False})
    frames = clip(2)
    tracker.prompt(frames[0], 1, points=POINT)
    tracker.prompt(frames[0], 2, points=[[62, 72]])
    assert np.sum([each.mask for each in tracker.step(frames[0]).objects], axis=0).max() <= 1


def test_a_mask_comes_alone_and_has_the_frames_size(networks):
    tracker, frame = torch_tracker(networks), clip(1)[0]
    with pytest.raises(PromptError, match="give it alone"):
        tracker.prompt(frame, 1, points=POINT, mask=np.ones((256, 256), bool))
    with pytest.raises(PromptError, match=r"\[256, 256\], got bool \[3, 4\]"):
        tracker.prompt(frame, 1, mask=np.ones((3, 4), bool))
    with pytest.raises(PromptError, match="prompt is empty"):
        tracker.prompt(frame, 1)
    assert not tracker.object_ids, "what was refused is not tracked"


def test_a_refused_prompt_leaves_the_video_where_it_is(networks):
    tracker, frames = torch_tracker(networks), clip(3)
    tracker.prompt(frames[0], 1, points=POINT)
    tracker.step(frames[0])
    with pytest.raises(PromptError):
        tracker.prompt(frames[2], 2, points=[[-5, 3]], index=9)
    assert tracker.next_index == 1 and tracker.step(frames[1]).index == 1


def test_a_closed_tracker_says_so_also_where_no_engine_would_run(networks):
    frame, tracker = clip(1)[0], torch_tracker(networks)
    tracker.prompt(frame, 1, points=POINT)
    tracker.close()
    for call in (lambda: tracker.step(frame), lambda: tracker.prompt(frame, 2, points=POINT)):
        with pytest.raises(EngineError, match="closed"):
            call()


def test_a_mask_that_is_none_is_told(networks):
    with pytest.raises(PromptError, match="mask: expected"):
        torch_tracker(networks).prompt(clip(1)[0], 1, mask=[[1], [1, 2]])


def test_a_model_without_memory_is_refused():
    given = {"name": "x", "pipeline": "tracking", "sam": {"model": "micro_sam2", "weights": "random:3"}}
    with pytest.raises(RecipeError, match="no memory to track with"):
        recipe_from(given, "x")


def moment():
    return Moment(np.zeros((4, 2), np.float32), np.zeros(2, np.float32), np.zeros((2, 2), np.float32), 1.0)


def test_memory_is_bounded():
    known = ObjectMemory()
    known.keep(0, moment(), first=True)
    for frame in range(1, 2000):
        known.keep(frame, moment(), first=False)
    assert list(known.prompted) == [0] and len(known.tracked) == 17
    read = known.read(2000, reverse=False, most=10, longest=15)
    assert read.reading.ages == (0, 1, 2, 3, 4, 5, 6) and len(read.pointers) == 16


def test_a_prompt_far_away_takes_no_memory_from_where_the_video_stands():
    known = ObjectMemory()
    for frame in range(100):
        known.keep(frame, moment(), first=frame == 0)
    known.keep(500, moment(), first=True)
    assert known.read(100, reverse=False, most=10, longest=15).reading.ages == (0, 0, 1, 2, 3, 4, 5, 6)


def test_pointers_of_prompts_to_come_are_not_read():
    known = ObjectMemory()
    known.keep(10, moment(), first=True)
    read = known.read(5, reverse=False, most=10, longest=15)
    assert read.reading == ((0,), ()) and len(read.memories) == 1, "its memory is"
    for frame in range(9, 1, -1):
        known.keep(frame, moment(), first=False)
    assert known.read(5, reverse=False, most=10, longest=15).reading.distances == (1 / 15, 2 / 15, 3 / 15)


def test_every_correction_in_reach_is_kept():
    known = ObjectMemory()
    for frame in range(5):
        known.keep(frame, moment(), first=frame == 0)
    for frame in (2, 3):
        known.correct(frame, moment())
    assert [frame for frame in range(6) if known.has_answer(frame)] == [0, 2, 3]
    for frame in range(5, 20):
        known.keep(frame, moment(), first=False)
    assert known.corrected == {3}, "what is let go of is no answer"
    known.keep(30, moment(), first=False)
    known.keep(3, moment(), first=False)
    assert not known.has_answer(3)


def test_the_closest_frames_are_chosen():
    assert closest(5, (1, 2), 2) == (1, 2)
    assert set(closest(5, (0, 4, 7, 6, 20), 3)) == {4, 6, 7}


def test_bfloat16_is_pytorchs():
    import torch

    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    values[:2] = np.array([0x3F808000, 0x3F818000], np.uint32).view(np.float32)  # ties
    np.testing.assert_array_equal(to_bfloat16(values), torch.from_numpy(values).bfloat16().float().numpy())


def test_small_holes_are_filled():
    logits = np.ones((9, 9), np.float32)
    logits[2:4, 2:4] = -5
    logits[6, :] = -5
    came = filled(logits, 4)
    assert (came[2:4, 2:4] > 0).all() and (came[6] < 0).all() and filled(logits, 0) is logits
    assert (filled(-logits.clip(1), 1000) < 0).all(), "what is not there has no holes"
