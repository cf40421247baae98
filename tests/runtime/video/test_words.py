"""Words into video, by a segmenter and a tracker that know a drawn clip: who joins, and who keeps its identity."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.answers.rle import Rle
from ovdeploy.runtime.errors import OvdeployWarning, ParameterError
from ovdeploy.runtime.evaluation.tracks import identified
from ovdeploy.runtime.scenes import draw_clip
from ovdeploy.runtime.video.answer import seen_as
from ovdeploy.runtime.video.frame import Frame
from ovdeploy.runtime.video.words import Joining, follow_words, newcomers

FRAMES = 12


@pytest.fixture(scope="module")
def clip():
    return draw_clip(1_000_001, FRAMES, short_side=64)


class Knowing:
    """A tracker that follows by what the clip says: each thing that joins is the one whose pixels its mask has most."""

    def __init__(self, clip):
        self.clip, self.of, self.prompted = clip, {}, []

    def prompt(self, frame, object, *, mask, index):
        self.of[object] = int(np.bincount(self.clip.owners[index][mask]).argmax())
        self.prompted.append((index, object))
        return SimpleNamespace(id=object, mask=mask)

    def forget(self, object):
        del self.of[object]

    def step(self, frame, *, index):
        owners = self.clip.owners[index]
        return SimpleNamespace(objects=[SimpleNamespace(id=i, mask=owners == of) for i, of in self.of.items()])


def finder(clip, *, left_out=()):
    """Finds all that is in sight of every thing, by the clip's own masks; the image says which frame it is."""
    names = tuple(dict.fromkeys(clip.names))

    def find(image):
        number = next(n for n in range(FRAMES) if (clip.frames[n] == image).all())
        masks = ((thing, clip.owners[number] == thing) for thing in range(1, len(clip.names) + 1))
        found = (
            seen_as(thing, mask, score=0.5, class_index=names.index(clip.names[thing - 1]), names=names)
            for thing, mask in masks
            if (number, thing) not in left_out
        )
        return [each for each in found if each is not None]

    return find


def frames_of(clip):
    return [Frame(number, number / 25, image) for number, image in enumerate(clip.frames)]


def test_everything_that_is_found_keeps_one_identity(clip):
    follower = Knowing(clip)
    answers = [answer for _, answer in follow_words(frames_of(clip), finder(clip), follower, Joining(every=4))]
    ours = [{each.id: each.mask.decode() for each in answer.instances} for answer in answers]
    truths = [{i: clip.owners[n] == i for i in range(1, len(clip.names) + 1)} for n in range(FRAMES)]
    assert identified(ours, truths).f1 == 1
    assert len(follower.of) == len(set(follower.of.values())), "nothing joined twice"
    assert all(each.class_name == clip.names[follower.of[each.id] - 1] for a in answers for each in a.instances)


def test_a_tracker_counts_the_frames_that_it_is_given(clip):
    """Memory reaches six frames back, whatever was left out between them."""
    follower, every = Knowing(clip), 3
    taken = [Frame(3 * n, n / 8, image) for n, image in enumerate(clip.frames)]
    answers = [answer for _, answer in follow_words(taken, finder(clip), follower, Joining(every=every))]
    assert {index for index, _ in follower.prompted} <= set(range(0, FRAMES, every))
    assert [answer.number for answer in answers] == [3 * n for n in range(FRAMES)]


def test_what_is_found_later_joins_at_a_later_key_frame_and_not_between(clip):
    missing = {(n, 3) for n in range(4)}
    follower = Knowing(clip)
    list(follow_words(frames_of(clip), finder(clip, left_out=missing), follower, Joining(every=4)))
    joined = {follower.of[identity]: index for index, identity in follower.prompted}
    assert joined[3] >= 4 and all(index % 4 == 0 for index in joined.values())
    assert [identity for _, identity in follower.prompted] == list(range(1, len(follower.of) + 1))


def test_frames_without_anything_are_answered_with_nothing_and_ask_no_tracker(clip):
    answers = list(follow_words(frames_of(clip), lambda image: [], None))
    assert len(answers) == FRAMES and all(answer.instances == () for _, answer in answers)


def test_answers_come_as_frames_come(clip):
    taken = []
    frames = (taken.append(frame.number) or frame for frame in frames_of(clip))
    stream = follow_words(frames, finder(clip), Knowing(clip))
    next(stream)
    assert taken == [0]


def things(draw_masks):
    return [seen_as(number + 1, mask, names=("a",)) for number, mask in enumerate(draw_masks) if mask.any()]


MASKS = st.lists(st.binary(min_size=16, max_size=16), max_size=4).map(
    lambda rows: [(np.frombuffer(row, np.uint8).reshape(4, 4) % 2).astype(bool) for row in rows]
)


@settings(max_examples=80, deadline=None)
@given(MASKS, MASKS)
def test_no_newcomer_lies_on_a_thing_that_nobody_else_was_taken_for(found_masks, followed):
    """Plainly: go through all pairs by IoU; the first for both is a match."""
    found, masks = things(found_masks), {number + 1: mask for number, mask in enumerate(followed)}
    known = {identity: SimpleNamespace(class_index=0) for identity in masks}
    new = newcomers(found, masks, known, Joining())
    free, open_ids = list(range(len(found))), set(masks)
    while True:
        best = max(((_iou(found[n].mask, masks[i]), -n, -i) for n in free for i in open_ids), default=(0.0, 0, 0))
        if best[0] < 0.5:
            break
        free.remove(-best[1])
        open_ids.remove(-best[2])
    assert {id(each) for each in new} == {id(found[n]) for n in free}
    assert [each.area for each in new] == sorted((each.area for each in new), reverse=True)


def _iou(rle, mask):
    inside = rle.decode()
    union = (inside | mask).sum()
    return (inside & mask).sum() / union if union else 0.0


def test_another_class_at_the_same_place_is_another_thing():
    mask = np.ones((4, 4), bool)
    found = [seen_as(1, mask, class_index=1, names=("a", "b"))]
    assert newcomers(found, {1: mask}, {1: SimpleNamespace(class_index=0)}, Joining()) == found
    assert newcomers(found, {1: mask}, {1: SimpleNamespace(class_index=1)}, Joining()) == []


def test_small_things_do_not_join_and_the_largest_come_first():
    large, small = np.ones((4, 4), bool), np.eye(4, dtype=bool)
    found = [seen_as(1, small), seen_as(2, large)]
    assert [each.mask for each in newcomers(found, {}, {}, Joining(min_area=5))] == [Rle.encode(large)]
    assert [each.mask for each in newcomers(found, {}, {}, Joining())] == [Rle.encode(large), Rle.encode(small)]


class Fading:
    """A tracker that sees a thing in the frame it joined on, and in none behind it."""

    def __init__(self):
        self.masks, self.forgotten = {}, []

    def prompt(self, frame, object_id, *, mask, index):
        self.masks[object_id] = (index, mask)

    def step(self, frame, *, index):
        return SimpleNamespace(
            objects=[SimpleNamespace(id=i, mask=m & (at == index)) for i, (at, m) in self.masks.items()]
        )

    def forget(self, object_id):
        self.forgotten.append(object_id)
        del self.masks[object_id]


def identities(follower, joining, count=3, side=4):
    frames = [Frame(n, None, np.zeros((side, side, 3), np.uint8)) for n in range(count)]
    answers = follow_words(frames, lambda image: [seen_as(1, np.ones((side, side), bool))], follower, joining)
    return [[each.id for each in answer.instances] for _, answer in answers]


def test_a_lost_thing_is_a_new_one_unless_a_guess_is_wanted():
    assert identities(Fading(), Joining(every=1)) == [[1], [2], [3]]
    assert identities(Fading(), Joining(every=1, rejoin=True)) == [[1], [1], [1]]


def test_most_counts_the_living_and_the_longest_lost_makes_room():
    follower = Fading()
    assert identities(follower, Joining(every=1, most=2), count=5) == [[1], [2], [3], [4], [5]]
    assert follower.forgotten == [1, 2, 3]


def test_where_all_are_in_sight_no_more_join_and_that_is_told():
    halves = [np.zeros((4, 4), bool) for _ in range(2)]
    halves[0][:, :3], halves[1][:, 3:] = True, True
    frames = [Frame(0, None, np.zeros((4, 4, 3), np.uint8))]
    with pytest.warns(OvdeployWarning, match="more things are found"):
        ((_, answer),) = follow_words(frames, lambda image: things(halves), Fading(), Joining(most=1))
    assert [each.area for each in answer.instances] == [12]


def test_where_nothing_may_join_nothing_is_looked_for_and_that_is_told():
    looked = []

    def find(image):
        looked.append(int(image[0, 0, 0]))
        return [seen_as(1, np.ones((4, 4), bool))]

    class Staying(Fading):
        def step(self, frame, *, index):
            there = {i: mask & (index < 3) for i, (_, mask) in self.masks.items()}
            return SimpleNamespace(objects=[SimpleNamespace(id=i, mask=mask) for i, mask in there.items()])

    frames = [Frame(n, None, np.full((4, 4, 3), n, np.uint8)) for n in range(4)]
    with pytest.warns(OvdeployWarning, match=r"as may be \(at once 1\)"):
        answers = list(follow_words(frames, find, Staying(), Joining(every=1, most=1)))
    assert looked == [0, 3] and len(answers) == 4, "who is out of sight makes room"


@pytest.mark.parametrize("wrong", [{"every": 0}, {"least_iou": 0.0}, {"least_iou": 1.1}, {"min_area": 0}, {"most": 0}])
def test_wrong_numbers_are_told(wrong):
    with pytest.raises(ParameterError, match="expected"):
        follow_words([], lambda image: [], None, Joining(**wrong))
