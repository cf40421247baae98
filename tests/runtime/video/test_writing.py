"""Answers about clips: lines, masks and films, read back by readers that share no code."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from ovdeploy.runtime.answers.instance import Subject
from ovdeploy.runtime.errors import OutputError, ParameterError
from ovdeploy.runtime.video.answer import FrameAnswer, seen_as
from ovdeploy.runtime.video.frame import Frame
from ovdeploy.runtime.video.reading import open_clip
from ovdeploy.runtime.video.writing import clip_writer, overlay_of

pytest.importorskip("av")

HW = (31, 45)
SUBJECT = Subject(HW, ("cat", "dog"), path="a.mp4", bundle="0" * 64)


def block(top, left, side=10):
    mask = np.zeros(HW, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def frames_and_answers():
    for number in range(4):
        image = np.full((*HW, 3), 90, np.uint8)
        things = [seen_as(3, block(2, 2 + 3 * number), score=0.5, class_index=1, names=SUBJECT.names)]
        things += [seen_as(9, block(5, 20), names=SUBJECT.names)] if number % 2 else []
        seconds = [0.0, 0.04, 0.5, 0.54][number]
        yield Frame(number, seconds, image), FrameAnswer(number, seconds, tuple(things))


@pytest.fixture
def written(tmp_path):
    with clip_writer(tmp_path / "a", SUBJECT, rate=25.0) as writer:
        for frame, answer in frames_and_answers():
            writer.add(frame, answer)
    return tmp_path


def test_lines_tell_what_they_are_of_and_what_was_found(written):
    head, *lines = [json.loads(line) for line in (written / "a.jsonl").read_text().splitlines()]
    assert head == {"schema": "ovdeploy/clip/1", "path": "a.mp4", "bundle": "0" * 64,
                    "size": {"height": 31, "width": 45}, "names": ["cat", "dog"]}  # fmt: skip
    assert [line["frame"] for line in lines] == [0, 1, 2, 3] and lines[2]["seconds"] == 0.5
    first, second = lines[1]["instances"]
    assert (first["id"], first["class_name"], first["score"]) == (3, "dog", 0.5)
    assert first["box_xyxy"] == [5, 2, 14, 11] and first["area"] == 100
    assert (coco.decode(second["mask"]) == block(5, 20)).all()


def test_masks_have_the_identity_of_the_last_that_has_a_pixel(written):
    told = np.array(Image.open(written / "a.masks" / "000003.png"))
    assert told.dtype == np.uint16 and (told[block(5, 20)] == 9).all()
    assert (told[block(2, 11) & ~block(5, 20)] == 3).all() and set(np.unique(told)) == {0, 3, 9}


def test_a_film_has_every_frame_at_its_time(written):
    frames = list(open_clip(written / "a.overlay.mp4"))
    assert [frame.seconds for frame in frames] == pytest.approx([0.0, 0.04, 0.5, 0.54], abs=0.002)
    assert frames[0].image.shape == (32, 46, 3), "odd sides are made even"


def test_an_identity_keeps_its_colour_whoever_is_there():
    image = np.full((*HW, 3), 90, np.uint8)
    alone = FrameAnswer(0, None, (seen_as(9, block(15, 30)),))
    among = FrameAnswer(1, None, (seen_as(3, block(0, 0)), seen_as(9, block(15, 30))))
    seen = [overlay_of(image, answer) for answer in (alone, among)]
    assert (seen[0][20, 35] == seen[1][20, 35]).all() and (seen[0][20, 35] != seen[1][5, 5]).any()
    assert (seen[0][2, 2] == 90).all()


def test_nothing_is_there_of_a_writing_that_failed(tmp_path):
    def fail():
        with clip_writer(tmp_path / "a", SUBJECT, masks=False) as writer:
            writer.add(*next(frames_and_answers()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 30), st.integers(0, 44), st.integers(1, 12))
def test_an_instance_has_the_box_and_area_of_its_mask(top, left, side):
    mask = block(top, left, side)
    found = seen_as(1, mask)
    ys, xs = np.nonzero(mask)
    assert found.box_xyxy == (xs.min(), ys.min(), xs.max(), ys.max()) and found.area == mask.sum()


@pytest.mark.parametrize("wrong", [0, -1, 65_536])
def test_an_identity_that_a_mask_cannot_hold_is_told(wrong):
    found = replace(seen_as(1, block(0, 0)), id=wrong)
    with pytest.raises(ParameterError, match="expected 1 to 65,535"):
        FrameAnswer(0, None, (found,)).identities(HW)


def test_an_answer_about_no_frame_is_a_line_and_no_film(tmp_path):
    with clip_writer(tmp_path / "a", SUBJECT):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_an_empty_mask_is_nothing_and_wrong_numbers_are_told():
    assert seen_as(1, np.zeros(HW, bool)) is None
    for wrong in ({"identity": 0}, {"identity": 65_536}, {"class_index": 1}):
        with pytest.raises(ParameterError, match="expected an identity"):
            seen_as(**{"identity": 1, "mask": block(0, 0), **wrong})
    for score in (-0.1, 1.1, float("nan")):
        with pytest.raises(ParameterError, match="expected 0 to 1"):
            seen_as(1, block(0, 0), score=score)


def test_masks_of_an_earlier_longer_answer_go_and_what_else_lies_there_stays(written):
    (written / "a.masks" / "mine.png").write_bytes(b"kept")
    with clip_writer(written / "a", SUBJECT, overlay=False) as writer:
        writer.add(*next(frames_and_answers()))
    assert sorted(path.name for path in (written / "a.masks").iterdir()) == ["000000.png", "mine.png"]


def test_a_film_without_a_frame_is_no_file(written):
    with clip_writer(written / "a", SUBJECT, masks=False):
        pass
    assert not (written / "a.overlay.mp4").exists()


def test_without_a_codec_the_film_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr("ovdeploy.runtime.video.film.CODECS", ("none",))
    with pytest.raises(OutputError, match="no codec"), clip_writer(tmp_path / "a", SUBJECT) as writer:
        writer.add(*next(frames_and_answers()))
    assert not list(tmp_path.glob("a.overlay*")) and not (tmp_path / "a.jsonl").exists()
