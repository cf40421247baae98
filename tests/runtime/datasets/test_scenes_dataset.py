"""Drawn scenes as a dataset: repeatable, and with the names that are given."""

import numpy as np
import pytest

from ovdeploy.runtime import DatasetError
from ovdeploy.runtime.datasets import ScenesDataset
from ovdeploy.runtime.scenes import ALL_NAMES, FIRST_TEST_SEED, HELD_OUT, STUFF, THINGS, draw_scene


def test_the_names_present_and_all_stuff_are_given():
    dataset = ScenesDataset(3)
    assert list(dataset.names) == [str(FIRST_TEST_SEED + index) for index in range(3)]
    for name in dataset.names:
        sample, scene = dataset.read(name), draw_scene(int(name))
        assert (sample.photo == scene.photo).all() and (sample.labels == scene.labels).all()
        assert sample.given == tuple(sorted(sample.given))
        assert {ALL_NAMES[index] for index in sample.given} == {*scene.names, *STUFF}
        assert set(np.unique(sample.labels)) <= set(sample.given)


def test_all_names_may_be_given():
    assert ScenesDataset(1, all_names=True).read("1000000").given == tuple(range(len(ALL_NAMES)))


def test_held_out_combinations_occur_only_where_asked_for():
    held_out = {ALL_NAMES.index(name) for name in HELD_OUT}
    seen, other = ScenesDataset(4), ScenesDataset(4, held_out=True)
    assert not any(held_out & set(seen.read(name).given) for name in seen.names)
    assert all(held_out & set(np.unique(other.read(name).labels)) for name in other.names)


def test_groups_cover_every_class_once():
    groups = ScenesDataset(1).groups
    assert sorted(index for group in groups.values() for index in group) == list(range(len(ALL_NAMES)))
    assert len(groups["stuff"]) == len(STUFF) and len(groups["held-out things"]) == len(HELD_OUT) < len(THINGS)


def test_the_identity_knows_what_is_drawn_and_not_how_much():
    assert ScenesDataset(3).identity == ScenesDataset(5, first_seed=7).identity
    others = [ScenesDataset(3), ScenesDataset(3, held_out=True), ScenesDataset(3, all_names=True)]
    assert len({str(each.identity) for each in others}) == 3


@pytest.mark.parametrize("wrong", [{"photos": 0}, {"photos": 1, "first_seed": -1}])
def test_scenes_that_cannot_be_drawn_are_refused(wrong):
    with pytest.raises(DatasetError, match="1 to 1000000 photos"):
        ScenesDataset(**wrong)
