"""Fitting on masks that are made up: the best values are planted, in both parts of the photos or in one."""

import numpy as np
import pytest

from ovdeploy.calib.tune.fit import fit, split, tunable
from ovdeploy.calib.tune.report import comments, describe, part_table, value_table, verdict, warnings
from ovdeploy.calib.tune.yardsticks import OfMasks
from ovdeploy.runtime import DatasetError, ParameterError
from ovdeploy.runtime.datasets import IGNORED
from ovdeploy.runtime.recipe.parameters import Parameters

CLASSES = 4


class Planted:
    """Masks whose share of right pixels falls with the distance of a parameter from the best value of the photo."""

    def __init__(self, name="region_threshold", best=lambda photo: 0.4, coarse=0.5, ignored=lambda photo: False):
        self.name, self.best, self.coarse, self.ignored = name, best, coarse, ignored
        self.kinds = set()

    def masks(self, photo, points):
        rng = np.random.default_rng(int(photo))
        labels = rng.integers(0, CLASSES, (20, 24)).astype(np.uint16)
        order, noise = rng.random(labels.shape), rng.integers(0, CLASSES, labels.shape).astype(np.uint16)
        found = []
        for point in points:
            refined = 0.9 - abs(point.get(self.name, 0) - self.best(photo))
            shares = {"refined": refined, "coarse": refined if self.coarse is None else self.coarse}
            kinds = ("refined", "coarse") if point["refine"] else ("coarse",)
            self.kinds.update(kinds)
            found.append({kind: np.where(order < shares[kind], labels, noise) for kind in kinds})
        return np.full_like(labels, IGNORED) if self.ignored(photo) else labels, found


def names(count, start=0):
    return [str(number) for number in range(start, start + count)]


def fitted(replay, parameters=None, *, background=False, photos=12, held_out=12, budget=80, **options):
    parameters = parameters or Parameters(refine=True)
    apart = names(held_out, 100)
    axes = tunable(parameters, background)
    return fit(OfMasks(replay, CLASSES, parameters.refine), parameters, axes, background=background,
               names=names(photos), held_out=apart, budget=budget, **options)  # fmt: skip


def test_what_is_better_on_both_parts_is_taken():
    found = fitted(Planted())
    assert found.kind == "refined" and found.found == {**found.before, "region_threshold": 0.4} == found.chosen
    assert found.accepted and not found.checked.gain.is_noise and not found.exhausted
    assert found.checked.after["refined"] - found.checked.before["refined"] == found.checked.gain.gain > 0.1
    assert verdict(found).startswith("better: +") and "12 photos held out" in verdict(found)
    assert not list(warnings(found))


def test_what_is_better_only_where_it_was_fitted_is_not_taken():
    found = fitted(Planted(best=lambda photo: 0.5 if int(photo) < 100 else 0.2))
    assert found.found["region_threshold"] == 0.5 and not found.accepted
    assert found.chosen == found.before
    assert verdict(found).startswith("not better: -") and "stay" in verdict(found)


def test_a_gain_that_may_be_luck_is_told():
    found = fitted(
        Planted(best=lambda photo: 0.6 if int(photo) in (*range(12), 100) else 0.4 - 0.01 * (int(photo) % 2))
    )
    if found.checked.gain.gain <= 0:
        pytest.fail("the case must gain a little")
    assert found.accepted and found.checked.gain.is_noise
    assert "within noise" in " ".join(warnings(found)) and verdict(found).startswith("better, but within noise: +")


def test_where_the_values_that_hold_are_the_best_they_stay():
    found = fitted(Planted(best=lambda photo: 0.2))
    assert found.found == found.before == found.chosen and not found.accepted
    assert "already the best" in verdict(found)
    assert found.checked.gain == (0, 0, 0) and not list(warnings(found))


def test_with_a_background_the_coarse_mask_comes_first():
    found = fitted(Planted("probability_threshold", lambda photo: 0.3, coarse=None), background=True)
    stages = [trial.stage for trial in found.trials]
    assert stages[0] == "refined" and stages[1] == "coarse" and stages[-1] == "refined"
    assert found.found["probability_threshold"] == 0.3 and found.accepted
    coarse = [trial for trial in found.trials if trial.stage == "coarse"]
    assert {trial.values["region_threshold"] for trial in coarse} == {0.2}


def test_what_helps_the_coarse_mask_alone_is_not_kept():
    """The coarse mask's best threshold is no better for the mask that counts."""
    replay = Planted("probability_threshold", lambda photo: 0.0)
    masks = replay.masks

    def other(photo, points):
        labels, found = masks(photo, points)
        for point, each in zip(points, found, strict=True):
            right = point["probability_threshold"] == 0.5
            each["coarse"] = labels if right else each["coarse"]
        return labels, found

    replay.masks = other
    assert fitted(replay, background=True).found["probability_threshold"] == 0.0


def test_without_refinement_the_coarse_mask_counts_and_nothing_is_refined():
    replay = Planted("probability_threshold", lambda photo: 0.4, coarse=None)
    found = fitted(replay, Parameters(refine=False), background=True)
    assert found.kind == "coarse" and replay.kinds == {"coarse"}
    assert set(found.found) == {"probability_threshold", "logit_scale"} and found.found["probability_threshold"] == 0.4
    assert list(found.fitted.after) == ["coarse"]


@pytest.mark.parametrize(
    ("parameters", "background", "told"),
    [
        (Parameters(refine=False), False, "nothing to tune"),
        (Parameters(probability_threshold=0.3), False, "no background"),
    ],
)
def test_what_cannot_be_tuned_is_refused(parameters, background, told):
    with pytest.raises(ParameterError, match=told):
        tunable(parameters, background)


def test_a_single_photo_is_fitted_on_and_nothing_checks_it():
    found = fitted(Planted(), photos=1, held_out=0)
    assert found.checked is None and found.accepted and found.found["region_threshold"] == 0.4
    assert "nothing was held out" in verdict(found)
    assert "no photo was held out" in " ".join(warnings(found))
    assert describe(found)["checked"] is None and describe(found)["fitted"]["interval"] == [None, None]


def test_labels_that_do_not_count_are_refused_where_it_is_fitted_and_borne_where_it_is_checked():
    with pytest.raises(DatasetError, match="no pixel"):
        fitted(Planted(ignored=lambda photo: int(photo) < 100))
    found = fitted(Planted(ignored=lambda photo: int(photo) >= 100))
    assert not found.accepted and describe(found)["checked"]["gain"] is None


def test_the_budget_holds_and_is_told():
    seen = []
    found = fitted(Planted(), budget=5, advance=seen.append)
    assert len(found.trials) == 5 and found.exhausted
    assert "--trials were used up" in " ".join(warnings(found))
    assert sum(seen) == 12 * 5 + 24 * 2


def test_refinement_that_harms_is_told():
    assert "refine = false" in " ".join(warnings(fitted(Planted(coarse=0.99))))


def test_it_is_described_in_plain_values_and_in_tables():
    import io

    import msgspec
    from rich.console import Console

    found = fitted(Planted())
    plain = msgspec.json.decode(msgspec.json.encode(describe(found)))
    assert plain["chosen"] == found.chosen and len(plain["trials"]) == len(found.trials)
    assert plain["checked"]["gain"] == found.checked.gain.gain and plain["checked"]["within_noise"] is False
    out = io.StringIO()
    console = Console(file=out, width=200)
    console.print(value_table(found), part_table(found))
    told = out.getvalue()
    assert f"0.4: {100 * found.fitted.after['refined']:.2f}" in told and "held out" in told
    assert any("12 photos of noise" in line for line in comments(found, "tiny", "noise"))


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 2), (10, 0.0, 0), (10, 0.3, 3), (10, 0.99, 9), (1000, 0.5, 500)],
)
def test_a_share_is_held_out_and_one_photo_is_left(count, share, expected):
    kept, apart = split(names(count), share)
    assert len(apart) == expected and sorted(kept + apart) == sorted(names(count))
    assert set(split(names(count)[::-1], share)[1]) == set(apart), "whatever the order"


def test_neighbours_are_parted():
    kept, _ = split(names(1000), 0.5)
    assert 200 < sum(str(int(name) + 1) in set(kept) for name in kept) < 300  # 250 expected, ±16
