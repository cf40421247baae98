"""Plots and pictures: they show what they should, for few classes and for many, small photos and large ones."""

import numpy as np
import pytest

from ovdeploy.runtime.datasets import IGNORED, Sample
from ovdeploy.runtime.evaluation.journal import Journal
from ovdeploy.runtime.evaluation.pictures import PANEL, draw_comparison, draw_confusion
from ovdeploy.runtime.evaluation.run import evaluate
from ovdeploy.runtime.evaluation.summary import summarise
from ovdeploy.runtime.evaluation.worst import Worst, draw_worst, worst_names
from ovdeploy.runtime.pictures.colours import colours_of
from support.evaluating import CLASSES, NoiseDataset, NoisePredictor


@pytest.mark.parametrize("classes", [1, 2, 21, 171])
def test_a_confusion_has_a_dark_diagonal_where_all_is_right(classes):
    names = [f"class number {index}" for index in range(classes)]
    image = np.asarray(draw_confusion(np.eye(classes, dtype=np.int64) * 7, names, "right")).astype(int)
    wrong = np.asarray(draw_confusion(np.roll(np.eye(classes, dtype=np.int64), 1, axis=1), names, "wrong")).astype(int)
    assert image.shape == wrong.shape and max(image.shape) < 2500
    cell = int(np.clip(1400 // classes, 10, 44))
    right, bottom = image.shape[1] - 12, image.shape[0] - 12
    last = image[bottom - cell + 2 : bottom - 2, right - cell + 2 : right - 2] if classes > 5 else None
    assert last is None or np.median(last[..., 0]) < 30, "the last cell is ink"
    assert (image != wrong).any() or classes == 1


def test_classes_that_do_not_occur_are_left_out_and_nothing_at_all_is_still_a_plot():
    counts = np.zeros((50, 50), np.int64)
    empty = draw_confusion(counts, list(map(str, range(50))), "nothing")
    counts[3, 4] = 1
    two = draw_confusion(counts, list(map(str, range(50))), "two classes")
    assert empty.height < two.height < 200


def test_a_comparison_shows_photo_labels_and_masks_side_by_side():
    labels = np.zeros((20, 40), np.uint16)
    labels[:, 20:] = 2
    labels[:5] = IGNORED
    photo = np.full((20, 40, 3), (10, 200, 30), np.uint8)
    image = np.asarray(draw_comparison(Sample(photo, labels), {"mask": np.full((20, 40), 3)}, CLASSES, "one"))
    colours = colours_of(CLASSES)
    for colour in ((10, 200, 30), colours[0], colours[2], colours[3], (0, 0, 0)):
        assert (image == colour).all(axis=2).sum() >= 0.1 * PANEL * PANEL / 2 / 4, colour
    assert not (image == colours[1]).all(axis=2).any(), "a class that is nowhere is not in the legend"


@pytest.mark.parametrize("hw", [(1, 1), (1, 400), (300, 2), (2000, 1500)])
def test_photos_of_any_shape_fit(hw):
    sample = Sample(np.zeros((*hw, 3), np.uint8), np.zeros(hw, np.uint16))
    image = draw_comparison(sample, {"a": np.zeros(hw, np.uint16), "b": np.zeros(hw, np.uint16)}, CLASSES, "any")
    assert max(image.size) < 5 * PANEL


def measured(folder, dataset, predictors, wanted):
    worst = Worst(wanted)
    with Journal(folder, {}) as journal:
        list(evaluate(dataset, predictors, journal, keep=worst.keep))
        return summarise(dataset, journal.entries()), worst


def test_the_worst_photos_are_drawn_worst_first(tmp_path):
    dataset, predictors = NoiseDataset(9), {"bundle": NoisePredictor(), "rival": NoisePredictor(1)}
    summary, worst = measured(tmp_path, dataset, predictors, 3)
    names = worst_names(summary, 3)
    scores = sorted(row["refined miou"] for row in summary.photos.values())
    assert [score for _, score in names] == scores[:3]
    assert all(worst.masks(name) is not None for name, _ in names)
    assert sum(worst.masks(name) is not None for name in dataset.names) == 3
    calls = predictors["bundle"].calls
    draw_worst(tmp_path / "worst", dataset, predictors, summary, worst, 3)
    assert predictors["bundle"].calls == calls, "kept masks are not made again"
    assert sorted(path.name for path in (tmp_path / "worst").iterdir()) == [
        f"{place:02d}-{name}.png" for place, (name, _) in enumerate(names, start=1)
    ]


def test_masks_that_an_earlier_process_made_are_made_again_and_old_pictures_go(tmp_path):
    dataset, predictors = NoiseDataset(4), {"bundle": NoisePredictor()}
    summary, worst = measured(tmp_path, dataset, predictors, 2)
    draw_worst(tmp_path / "worst", dataset, predictors, summary, worst, 2)
    before = {path.name: path.read_bytes() for path in (tmp_path / "worst").iterdir()}
    (tmp_path / "worst" / "03-old.png").write_bytes(b"")
    draw_worst(tmp_path / "worst", dataset, predictors, summary, Worst(2), 2)
    assert predictors["bundle"].calls == 6
    assert {path.name: path.read_bytes() for path in (tmp_path / "worst").iterdir()} == before


def test_a_photo_that_has_gone_since_is_left_out_of_the_pictures(tmp_path):
    dataset, predictors = NoiseDataset(2), {"bundle": NoisePredictor()}
    summary, _ = measured(tmp_path, dataset, predictors, 2)
    draw_worst(tmp_path / "w", NoiseDataset(2, bad={"0000": OSError}), predictors, summary, Worst(2), 2)
    assert [path.name[3:] for path in (tmp_path / "w").iterdir()] == ["0001.png"]


def test_no_pictures_where_none_are_wanted(tmp_path):
    dataset, predictors = NoiseDataset(2), {"bundle": NoisePredictor()}
    summary, worst = measured(tmp_path, dataset, predictors, 0)
    draw_worst(tmp_path / "worst", dataset, predictors, summary, worst, 0)
    assert not (tmp_path / "worst").exists() and worst.masks("0000") is None
