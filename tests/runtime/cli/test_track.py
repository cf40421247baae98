"""`ovdeploy track`: what it writes and tells, whichever way; what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime.cli.object_options import whose
from ovdeploy.runtime.cli.track import track
from ovdeploy.runtime.errors import PromptError
from ovdeploy.runtime.scenes import draw_clip
from ovdeploy.runtime.video.backward import backward
from ovdeploy.runtime.video.prompts import ObjectPrompt, merged, read_prompts
from ovdeploy.runtime.video.reading import open_clip

FRAMES = 5


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder of frames, and one of who owns their pixels."""
    clip, folder = draw_clip(1_000_003, FRAMES, short_side=64), tmp_path_factory.mktemp("clips")
    for name, pictures in (("clip", clip.frames), ("owners", clip.owners)):
        (folder / name).mkdir()
        for number, picture in enumerate(pictures):
            Image.fromarray(picture).save(folder / name / f"{number:03}.png")
    return folder


@pytest.fixture
def call(clips, micro_video_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(clips)

    def called(*arguments, video="clip"):
        given = [video, "--bundle", str(micro_video_bundle), "-o", str(tmp_path), "--threads", "1", "--no-overlay"]
        result = CliRunner().invoke(track, [*given, *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return called


def lines(tmp_path):
    return [json.loads(line) for line in (tmp_path / "clip.track.jsonl").read_text().splitlines()]


def test_lines_and_masks_of_all_frames_are_written(call, tmp_path):
    done = call("--point", "20,20", "--box", "2=10,10,40,40")
    assert done.exit_code == 0, done.output
    head, *frames = lines(tmp_path)
    assert head["schema"] == "ovdeploy/clip/1" and len(head["bundle"]) == 64
    assert [frame["frame"] for frame in frames] == list(range(FRAMES))
    assert {each["id"] for frame in frames for each in frame["instances"]} <= {1, 2}
    assert len(list((tmp_path / "clip.track.masks").iterdir())) == FRAMES
    assert f"{FRAMES} frames" in done.stderr


def test_a_mask_for_each_object_is_the_answer_of_its_frame(call, clips, tmp_path):
    """Resized to the model's square and back: the prompted frame has nearly the pixels that were given."""
    assert call("--objects", "owners/000.png", "--set", "overlap=false").exit_code == 0
    told = np.array(Image.open(tmp_path / "clip.track.masks" / "000000.png"))
    owners = np.array(Image.open(clips / "owners" / "000.png"))
    assert (told == owners).mean() > 0.95


def test_both_ways_answer_all_frames_and_one_way_its_own(call, tmp_path):
    def answered(*direction):
        assert call("--box", "1@2=5,5,60,60", *direction).exit_code == 0
        return [{each["id"]: each for each in frame["instances"]} for frame in lines(tmp_path)[1:]]

    ahead, behind, both = answered(), answered("--direction", "backward"), answered("--direction", "both")
    assert ahead[:2] == [{}, {}] and behind[3:] == [{}, {}]
    assert both == [*behind[:2], *ahead[2:]]


def test_json_has_a_line_for_each_frame(call):
    done = call("--point", "20,20", "--json", "--first", "1", "--every", "2")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["frame"] for line in told] == [1, 3] and done.stderr == ""


def test_words_are_followed_from_key_frames_on(call, micro_bundle, tmp_path):
    done = call("--words", str(micro_bundle), "--classes", "cup, table", "--stuff", "sky", "--key-every", "3")
    assert done.exit_code == 0, done.output
    head, *frames = lines(tmp_path)
    assert head["names"] == ["cup", "table"] and len(frames) == FRAMES


def test_a_damaged_clip_is_answered_up_to_the_damage_and_ends_with_1(call, clips, tmp_path):
    broken = tmp_path / "in" / "clip"
    broken.mkdir(parents=True)
    for number in range(FRAMES):
        content = (clips / "clip" / f"{number:03}.png").read_bytes()
        (broken / f"{number:03}.png").write_bytes(content[:100] if number == 3 else content)
    done = call("--point", "20,20", "--json", video=str(broken))
    assert done.exit_code == 1 and [line["frame"] for line in lines(tmp_path)[1:]] == [0, 1, 2]
    assert json.loads(done.stdout.splitlines()[-1])["error"]["type"] == "VideoError"


WRONG = {
    "nothing to follow": ((), 2, "say what to follow"),
    "classes without a bundle": (("--classes", "cup"), 2, "--words BUNDLE"),
    "no numbers": (("--point", "here"), 2, "expected --point"),
    "an object without number": (("--point", "0=3,4"), 2, "numbers from 1"),
    "a label": (("--point", "3,4,7"), 1, "label is 1"),
    "a frame past the end": (("--point", "1@9=3,4"), 1, "has 5 frames"),
    "a frame that is not read": (("--point", "1@1=3,4", "--every", "2"), 1, "not read"),
    "a place outside": (("--point", "3000,4"), 1, "object 1 on frame 0: the point"),
    "a mask beside a point": (("--mask", "owners/000.png", "--point", "3,4"), 1, "without points"),
    "a mask in colours": (("--mask", "clip/000.png"), 1, "one number a pixel"),
    "no such mask": (("--mask", "gone.png"), 1, "gone.png"),
    "backward from the beginning": (("--point", "3,4", "--direction", "backward"), 2, "nothing lies before"),
    "no frame": (("--point", "3,4", "--first", "7"), 1, "has 5 frames"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_used_is_told_and_nothing_is_written(what, call, tmp_path):
    given, code, told = WRONG[what]
    done = call(*given)
    assert done.exit_code == code and told in done.stderr, done.stderr
    assert not list(tmp_path.glob("clip*"))


@pytest.mark.parametrize("video", ["gone.mp4", "owners/000.png"])
def test_what_is_no_clip_is_told(video, call):
    pytest.importorskip("av")
    done = call("--point", "3,4", video=video)
    assert done.exit_code == 1 and video in done.stderr


def test_whom_a_prompt_is_about():
    assert whose("3,4", 5) == (1, 5, "3,4") and whose("2=3,4", 5) == (2, 5, "3,4")
    assert whose("2@7=a=b.png", 5) == (2, 7, "a=b.png") and whose("@7=x", 5) == (1, 7, "x")
    assert whose("a=b.png", 5) == (1, 5, "a=b.png") and whose("2=x", 5, numbered=False) == (1, 5, "2=x")


def test_parts_of_a_prompt_are_one():
    (one,) = merged([ObjectPrompt(1, 0, points=[(1, 2)]), ObjectPrompt(1, 0, box=[0, 0, 5, 5], labels=None),
                     ObjectPrompt(1, 0, points=[(3, 4)], labels=[0])])  # fmt: skip
    assert one.points == [(1, 2), (3, 4)] and one.labels == [1, 0] and one.box == [0, 0, 5, 5]
    with pytest.raises(PromptError, match="two of box"):
        merged([ObjectPrompt(1, 0, box=[0, 0, 5, 5])] * 2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"prompts": []}', '{"prompts": [{"object": 0}]}',
                                  '{"prompts": [{"object": 1}]}', '{"prompts": [{"object": 1, "point": [1, 2]}]}',
                                  '{"prompts": [{"object": 1, "box": [1, 2, 3, 1e99]}]}'])  # fmt: skip
def test_a_file_of_prompts_that_is_none_is_told(text, tmp_path):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(PromptError):
        read_prompts(tmp_path / "p.json")


def test_a_file_of_prompts_names_masks_from_its_folder(clips):
    told = {"prompts": [{"object": 2, "mask": "owners/000.png"}, {"object": 1, "frame": 3, "points": [[1, 2]]}]}
    (clips / "p.json").write_text(json.dumps(told))
    first, second = read_prompts(clips / "p.json", first=1)
    assert (first.object_id, first.frame, second.frame) == (2, 1, 3) and first.mask.any()


@pytest.mark.parametrize("most", [1, 64 * 64 * 3 * 2, 1 << 28])
def test_backward_is_forward_turned_round(most, clips):
    for choice in ({}, {"every": 2, "first": 1}):
        there, back = (
            list(open_clip(clips / "clip", **choice)),
            list(backward(open_clip(clips / "clip", **choice), most)),
        )
        assert [each.number for each in back] == [each.number for each in reversed(there)]
        assert all((a.image == b.image).all() for a, b in zip(reversed(there), back, strict=True))
