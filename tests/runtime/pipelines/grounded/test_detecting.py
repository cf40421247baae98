"""Which boxes are taken, and which words they get."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovdeploy.runtime.pipelines.grounded.detecting import Detections, taken
from ovdeploy.runtime.pipelines.grounded.owl import best_classes
from ovdeploy.runtime.pipelines.grounded.parameters import GroundedParameters
from ovdeploy.runtime.words.vocabulary import Vocabulary

HW = (50, 80)


def detections(*rows):
    """Rows of box, class and score."""
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[2] for row in rows], np.float32)
    return Detections(boxes, np.array([row[1] for row in rows], np.intp), scores, np.ones_like(scores))


def kept(found, background=False, **parameters):
    return taken(found, HW, background, GroundedParameters(**{"box_threshold": 0.0, **parameters}))


def test_no_boxes_leave_none():
    assert [len(part) for part in kept(detections())] == [0, 0, 0, 0]


def test_of_two_boxes_over_each_other_the_surer_stays_only_within_a_class():
    near, nearer = (0, 0, 10, 10), (0, 0, 10, 11)
    assert kept(detections((near, 1, 0.4), (nearer, 1, 0.6))).scores.tolist() == [np.float32(0.6)]
    assert kept(detections((near, 1, 0.4), (nearer, 2, 0.6))).classes.tolist() == [2, 1]


def test_one_name_for_a_thing_can_be_asked_for():
    near, nearer = (0, 0, 10, 10), (0, 0, 10, 11)
    found = detections((near, 1, 0.4), (nearer, 2, 0.6), ((40, 0, 50, 9), 1, 0.2))
    assert kept(found, nms_across_classes=True).classes.tolist() == [2, 1]


def test_thresholds_are_of_the_box_and_of_its_surest_word_and_not_reached_by_equality():
    found = detections(*(((9 * i, 0, 9 * i + 8, 9), 1, score) for i, score in enumerate((0.25, 0.5, 0.75))))
    assert kept(found, box_threshold=0.25).scores.tolist() == [0.75, 0.5]
    unsure = found._replace(word_scores=np.array([0.5, 0.25, 0.75], np.float32))
    assert kept(unsure, text_threshold=0.25).scores.tolist() == [0.75, 0.25]


@pytest.mark.parametrize(
    "box", [(-9, 0, 0, 9), (0, 50, 9, 60), (80, 0, 90, 9), (5, 5, 5, 9), (9, 9, 5, 20), (0, -9, 9, 0)]
)
def test_a_box_beside_the_photo_or_without_area_is_none(box):
    assert len(kept(detections((box, 0, 0.9))).boxes) == 0


def test_a_box_that_sticks_out_stays_as_it_is():
    assert kept(detections(((-5, -5, 100, 100), 0, 0.9))).boxes.tolist() == [[-5, -5, 100, 100]]


def test_boxes_of_the_background_are_no_things():
    found = detections(((0, 0, 9, 9), 0, 0.9), ((0, 0, 9, 9), 1, 0.2))
    assert kept(found, background=True).classes.tolist() == [1]


def test_the_surest_are_taken_when_there_are_too_many():
    found = detections(*(((4 * i, 0, 4 * i + 3, 9), i % 3, 0.1 + 0.05 * i) for i in range(9)))
    assert kept(found, max_boxes=2).scores.tolist() == [np.float32(0.5), np.float32(0.45)]


def slow_suppression(found, threshold):
    """Indices by loops, the surest first."""
    order, kept = sorted(range(len(found.boxes)), key=lambda i: (-found.scores[i], i)), []
    for i in order:
        if all(found.classes[i] != found.classes[j] or iou(found.boxes[i], found.boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


def iou(one, other):
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


side = st.integers(0, 40)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(side, side, side, side, st.integers(0, 2), st.integers(1, 20)), max_size=12))
def test_what_stays_is_what_loops_keep(rows):
    found = detections(*(((x, y, x + w + 1, y + h + 1), k, s / 20) for x, y, w, h, k, s in rows))
    wanted = found.chosen(np.array(slow_suppression(found, 0.5), np.intp))
    for came, part in zip(kept(found), wanted, strict=True):
        np.testing.assert_array_equal(came, part)


def seen(boxes=7, length=5, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((1, boxes, length)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return {"embeddings": rows, "shift": rng.standard_normal((1, boxes)).astype(np.float32),
            "scale": rng.uniform(0.1, 9, (1, boxes)).astype(np.float32)}  # fmt: skip


@pytest.mark.parametrize("classes", [["cup"], ["cup; mug", "table"], [f"word {i}; name {i}" for i in range(300)]])
@pytest.mark.parametrize("background", [False, True])
def test_a_box_gets_its_best_word(classes, background):
    given = seen()
    count = sum(len(entry.split(";")) for entry in classes)
    words = Vocabulary(classes, np.random.default_rng(1).standard_normal((count, 5)), background=background)
    scores, best = best_classes(given, words)
    for box in range(7):
        of_class = []
        for number, (start, names) in enumerate(zip(words.query_starts, words.synonyms, strict=True)):
            rows = words.embeddings[start : start + len(names)].astype(float)
            cosines = rows @ given["embeddings"][0, box] / np.linalg.norm(rows, axis=1)
            logit = (cosines.max() + given["shift"][0, box]) * given["scale"][0, box]
            of_class.append(-np.inf if background and number == 0 else logit)
        assert best[box] == int(np.argmax(of_class))
        assert scores[box] == pytest.approx(1 / (1 + np.exp(-max(of_class))), abs=1e-5)
