"""Drawn clips: seeded, exactly labelled, with identities that stay, things that hide each other, leave and return."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.errors import ParameterError
from ovdeploy.runtime.scenes import ALL_NAMES, HELD_OUT, STUFF, draw_clip
from ovdeploy.runtime.scenes.draw import covered_by
from ovdeploy.runtime.scenes.moving import MOST_THINGS, draw_part
from ovdeploy.runtime.scenes.ways import ALWAYS, WAYS

SIDE = 64


@pytest.fixture(scope="module")
def clips():
    return [draw_clip(seed, 20, short_side=SIDE) for seed in range(12)]


def areas(clip):
    """[T, N]: pixels in sight of each thing in each frame."""
    numbers = np.arange(1, len(clip.names) + 1)
    return (clip.owners[:, None] == numbers[:, None, None]).sum((-2, -1))


def test_the_same_arguments_draw_the_same_clip_and_others_another():
    first, again, other = (draw_clip(seed, 3, short_side=SIDE) for seed in (4, 4, 5))
    assert first.frames.tobytes() == again.frames.tobytes() and first.owners.tobytes() == again.owners.tobytes()
    assert (first.names, first.ways) == (again.names, again.ways)
    assert first.frames.tobytes() != other.frames.tobytes()


def test_a_clip_of_another_size_shows_the_same_things_at_the_same_places():
    small, large = draw_clip(9, 5, short_side=64), draw_clip(9, 5, short_side=192)
    assert small.names == large.names and small.ways == large.ways
    shares = [clip.owners.astype(bool).mean((1, 2)) for clip in (small, large)]
    assert shares[0] == pytest.approx(shares[1], abs=0.02), "outlines take part of a pixel"


def test_a_part_of_a_clip_is_as_it_is_in_the_whole():
    whole, part = draw_clip(6, 9, short_side=64), draw_part(6, 9, (2, 7), 64)
    assert (part.frames == whole.frames[[2, 7]]).all() and (part.owners == whole.owners[[2, 7]]).all()
    assert (part.labels == whole.labels[[2, 7]]).all() and part.names == whole.names


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31 - 1), st.integers(1, 4), st.integers(32, 70), st.booleans())
def test_shapes_types_and_names_are_as_documented(seed, frames, side, held_out):
    clip = draw_clip(seed, frames, short_side=side, held_out=held_out)
    assert clip.frames.dtype == clip.owners.dtype == clip.labels.dtype == np.uint8
    assert clip.frames.shape == (*clip.owners.shape, 3) and clip.labels.shape == clip.owners.shape
    assert len(clip.owners) == frames and min(clip.owners.shape[1:]) == side
    assert len(ALWAYS) <= len(clip.names) == len(clip.ways) <= MOST_THINGS
    assert clip.owners.max() <= len(clip.names)
    assert held_out or not set(HELD_OUT) & set(clip.names)


def test_owners_and_labels_tell_the_same(clips):
    for clip in clips:
        named = np.array([ALL_NAMES.index(name) for name in clip.names])
        things = clip.owners > 0
        assert (clip.labels[things] == named[clip.owners[things] - 1]).all()
        assert set(np.unique(clip.labels[~things])) <= {ALL_NAMES.index(name) for name in STUFF}


def test_every_clip_has_what_trackers_find_hard(clips):
    for clip in clips:
        assert all(clip.ways.count(way) >= ALWAYS.count(way) for way in WAYS)
        leaver = areas(clip)[:, clip.ways.index("leave")]
        assert leaver[8:12].max() == 0, "it is away half-way"
    came = [areas(clip)[[0, -1], clip.ways.index("leave")].min() > 0 for clip in clips]
    assert sum(came) >= 9, "it was there and came back, unless it lies behind another"


def test_things_that_cross_hide_each_other(clips):
    """Half-way the two have the same middle: the one behind loses much of what was in sight of it."""
    for clip in clips:
        behind = areas(clip)[:, clip.ways.index("cross")]
        assert behind[9:11].min() < 0.6 * behind.max()


def test_things_that_grow_double_their_radius(clips):
    for clip in clips:
        grown = areas(clip)[:, clip.ways.index("grow")].astype(float)
        if grown.min() > 60 and clip.ways.index("grow") == len(clip.ways) - 1:  # nothing lies above it
            assert max(grown[-1] / grown[0], grown[0] / grown[-1]) == pytest.approx(4, rel=0.25)


def test_a_surface_moves_with_its_thing():
    """Its colours do not flicker from frame to frame, as noise drawn anew for each would."""
    clip = draw_clip(3, 20, short_side=96)
    for number in range(1, len(clip.names) + 1):
        own = clip.owners == number
        seen = [clip.frames[t][own[t]].mean(0) for t in range(20) if own[t].sum() > 150]
        steps = np.abs(np.diff(seen, axis=0)).max() if len(seen) > 1 else 0
        assert steps < 25, "of 255; shadows fall on it, and others hide a part"


@pytest.mark.parametrize("shift", [(-50.0, 0.0), (50.0, 0.0), (0.0, -50.0), (0.0, 50.0), (500.0, 500.0)])
def test_a_polygon_outside_covers_nothing(shift):
    square = np.array([(5.0, 5.0), (15.0, 5.0), (15.0, 15.0), (5.0, 15.0)])
    coverage, _, _ = covered_by(square + shift, (20, 20))
    assert coverage.sum() == 0
    inside, top, left = covered_by(square, (20, 20))
    assert inside.sum() == pytest.approx(100, abs=12) and (top, left) == (4, 4)


@pytest.mark.parametrize(
    "arguments",
    [{"seed": -1}, {"frames": 0}, {"frames": 1001}, {"short_side": 31}, {"short_side": 1025}],
)
def test_what_cannot_be_drawn_is_told(arguments):
    with pytest.raises(ParameterError, match=f"{next(iter(arguments))}=.*expected"):
        draw_clip(**{"seed": 0, **arguments})
