"""Reading clips: frames as they were written, times, turns, odd sizes, choices, and files that are broken or none."""

import os
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ovdeploy.runtime.errors import MissingExtraError, OvdeployWarning, ParameterError, VideoError
from ovdeploy.runtime.video.folder import natural_order
from ovdeploy.runtime.video.frame import Choice
from ovdeploy.runtime.video.reading import open_clip
from support.videos import MIRRORED, TURNED, pictures, turn_video, write_video

pytest.importorskip("av")

HW = (24, 32)


@pytest.fixture
def lossless(tmp_path):
    return write_video(tmp_path / "clip.mkv", pictures(6, HW))


def test_frames_come_as_they_were_written_with_their_times(lossless):
    clip = open_clip(lossless)
    frames = list(clip)
    assert [frame.number for frame in frames] == list(range(6))
    assert [frame.seconds for frame in frames] == pytest.approx([0.04 * index for index in range(6)], abs=1e-3)
    for frame, picture in zip(frames, pictures(6, HW), strict=True):
        assert frame.image.dtype == np.uint8 and (frame.image == picture).all()
    assert clip.hw == HW and clip.rate == pytest.approx(25) and clip.damage == ""
    assert len(list(clip)) == 6, "a clip can be read again"


@pytest.mark.parametrize(("codec", "form", "suffix"), [("mpeg4", "yuv420p", "mp4"), ("libvpx-vp9", "yuv420p", "webm"),
                                                       ("png", "rgb24", "mov"), ("ffv1", "bgr0", "avi"),
                                                       ("wrapped_avframe", "yuv420p", "y4m")])  # fmt: skip
@pytest.mark.parametrize("hw", [(33, 47), (1, 1), (2, 65)])
def test_odd_sizes_are_read_at_their_size(tmp_path, codec, form, suffix, hw):
    path = write_video(tmp_path / f"odd.{suffix}", pictures(3, hw), codec=codec, form=form)
    frames = list(open_clip(path))
    assert [frame.image.shape for frame in frames] == [(*hw, 3)] * 3


def test_a_variable_rate_keeps_its_times(tmp_path):
    times = [500, 540, 700, 1900, 1910]
    path = write_video(tmp_path / "variable.mkv", pictures(5, HW), times_ms=times)
    seconds = [frame.seconds for frame in open_clip(path)]
    assert seconds == pytest.approx([(time - times[0]) / 1000 for time in times], abs=1e-3)


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 3), (180, 2), (270, 1)])
def test_frames_are_turned_upright(tmp_path, degrees, turns):
    path = write_video(tmp_path / "turned.mov", pictures(2, HW), codec="png", form="rgb24")
    turn_video(path, TURNED[degrees])
    frame = next(iter(open_clip(path)))
    assert (frame.image == np.rot90(pictures(1, HW)[0], turns)).all() and frame.image.flags.c_contiguous


@pytest.mark.parametrize(
    ("how", "shown"),
    [("across", lambda p: p[:, ::-1]), ("down", lambda p: p[::-1]), ("transposed", lambda p: p.transpose(1, 0, 2)),
     ("both", lambda p: p.transpose(1, 0, 2)[::-1, ::-1])],
)  # fmt: skip
def test_frames_that_are_mirrored_are_shown_so(tmp_path, how, shown):
    path = write_video(tmp_path / "mirrored.mov", pictures(2, HW), codec="png", form="rgb24")
    turn_video(path, MIRRORED[how])
    frame = next(iter(open_clip(path)))
    assert (frame.image == shown(pictures(1, HW)[0])).all() and frame.image.flags.c_contiguous


def test_a_frame_that_is_larger_than_its_header_says_ends_the_clip_before_it_is_decoded(tmp_path):
    import av

    def jpegs(side):
        return [bytes(packet) for packet in _encoded(pictures(1, (side, side))[0])]

    with av.open(str(tmp_path / "grows.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height = stream.width = 64
        stream.pix_fmt = "yuvj420p"
        for index, content in enumerate([*jpegs(64) * 3, *jpegs(1000)]):
            packet = av.Packet(content)
            packet.stream, packet.pts, packet.dts = stream, index, index
            container.mux(packet)
    clip = open_clip(tmp_path / "grows.mkv", max_pixels=100_000)
    assert len(list(clip)) == 3 and clip.damage


def _encoded(picture):
    import av

    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = *picture.shape[:2], "yuvj420p", Fraction(1, 25)
    return codec.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p"))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 30), st.integers(1, 30) | st.none())
def test_a_choice_is_what_a_slice_is(every, first, length):
    end = None if length is None else first + length
    choice = Choice(every, first, end).check()
    wanted = [index for index in range(50) if choice.wants(index)]
    assert wanted == list(range(50))[first : end if end is not None else 50 : every]
    assert all(not choice.wants(index) for index in range(50) if choice.is_past(index))


def test_wanted_frames_keep_their_index(lossless, tmp_path):
    assert [frame.number for frame in open_clip(lossless, every=2, first=1, end=5)] == [1, 3]
    folder = _folder(tmp_path / "frames", pictures(6, HW))
    chosen = list(open_clip(folder, every=2, first=1, end=5))
    assert [frame.number for frame in chosen] == [1, 3] and (chosen[1].image == pictures(6, HW)[3]).all()


def _folder(path, frames):
    path.mkdir()
    for index, picture in enumerate(frames):
        Image.fromarray(picture).save(path / f"{index:03}.png")
    return path


def test_a_folder_of_photos_is_a_clip_without_times(tmp_path):
    folder = _folder(tmp_path / "frames", pictures(4, HW))
    (folder / "notes.txt").write_text("no photo")
    Image.fromarray(pictures(1, HW)[0]).save(folder / "000.overlay.png")
    frames = list(open_clip(folder))
    assert [frame.seconds for frame in frames] == [None] * 4
    assert all((frame.image == picture).all() for frame, picture in zip(frames, pictures(4, HW), strict=True))


def test_a_choice_behind_the_clips_end_is_told(tmp_path):
    folder = _folder(tmp_path / "frames", pictures(2, HW))
    with pytest.warns(OvdeployWarning, match="none of the clip's 2 frames is wanted: the first that may be is 50"):
        assert list(open_clip(folder, first=50)) == []
    assert [frame.number for frame in open_clip(folder, first=1)] == [1]


def test_numbers_in_names_count_by_their_value(tmp_path):
    for name in ("10.png", "9.png", "a2b11.png", "a2b3.png", "a10b1.png", "007.png", "08.png", "7.png"):
        Image.fromarray(pictures(1, HW)[0]).save(tmp_path / name)
    expected = ["007.png", "7.png", "08.png", "9.png", "10.png", "a2b3.png", "a2b11.png", "a10b1.png"]
    assert open_clip(tmp_path).names == expected
    assert natural_order("9" * 6000 + ".png") < natural_order("1" + "0" * 6000 + ".png")  # more digits than int() takes


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_frames_before_a_cut_are_kept_and_the_cut_is_told(tmp_path, suffix):
    """The index of an MP4 is moved to its front, as for the web: at its end it would be cut off too."""
    noise = list(np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), np.uint8))  # frames of some size
    whole = write_video(tmp_path / f"whole.{suffix}", noise, codec="mpeg4", form="yuv420p")
    content = _web(whole) if suffix == "mp4" else whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(content[: int(len(content) * 0.6)])
    clip = open_clip(cut)
    kept = len(list(clip))
    assert 0 < kept < 20
    assert suffix == "mkv" or clip.damage, "a Matroska file does not say how many frames it has"


def _web(path):
    import av

    front = path.with_name("front.mp4")
    with av.open(str(path)) as old, av.open(str(front), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return front.read_bytes()


@pytest.mark.parametrize("lost", [2, 5])
def test_damaged_frames_at_the_beginning_are_left_out_and_all_damaged_are_told(lost, tmp_path, monkeypatch):
    """As a recording has them that begins between two key frames."""
    clip = open_clip(write_video(tmp_path / "a.mkv", pictures(5, HW)))
    original, count = type(clip)._opened, iter(range(5))

    @contextmanager
    def opened(self):
        with original(self) as (container, stream):
            frames = (SimpleNamespace(is_corrupt=True) if next(count) < lost else f for f in container.decode(stream))
            yield SimpleNamespace(decode=lambda _: frames), stream

    monkeypatch.setattr(type(clip), "_opened", opened)
    if lost == 5:
        with pytest.raises(VideoError, match="all of its 5 frames"):
            list(clip)
        return
    frames = list(clip)
    assert [frame.number for frame in frames] == [0, 1, 2] and not clip.damage
    assert [frame.seconds for frame in frames] == pytest.approx([0.0, 0.04, 0.08])


def test_a_damaged_photo_ends_a_folder_and_what_came_before_is_kept(tmp_path):
    folder = _folder(tmp_path / "frames", pictures(4, HW))
    (folder / "002.png").write_bytes((folder / "002.png").read_bytes()[:60])
    clip = open_clip(folder)
    assert [frame.number for frame in clip] == [0, 1] and "002.png" in clip.damage


def test_frames_of_another_size_end_a_clip(tmp_path):
    folder = _folder(tmp_path / "frames", [*pictures(2, HW), *pictures(1, (30, 32))])
    clip = open_clip(folder)
    assert len(list(clip)) == 2 and "frame 2 is 32×30" in clip.damage


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_bytes_are_changed_the_frames_come_or_an_error_of_ours(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("broken") / "clip.mkv"
    content = bytearray(write_video(path, pictures(4, HW), codec="mpeg4", form="yuv420p").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        for before, after in pairwise(open_clip(path, max_pixels=10_000)):
            assert before.number < after.number and before.image.shape == after.image.shape
    except VideoError:
        pass  # any other kind fails


@pytest.mark.parametrize("content", [b"", b"no video", b"\0" * 5000, b"\x1aE\xdf\xa3" + b"\xff" * 50])
def test_what_is_no_video_is_refused(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.mp4: .*(format that is read|no picture|no frame|damaged)"):
        list(open_clip(path))


def test_a_playlist_opens_nothing(tmp_path, lossless):
    """Neither the files that it names, nor an address."""
    path = tmp_path / "list.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{lossless}\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError, match="format that is read"):
        open_clip(path)
    path.with_suffix(".txt").write_text(f"ffconcat version 1.0\nfile {lossless.name}\n")
    with pytest.raises(VideoError, match="format that is read"):
        open_clip(path.with_suffix(".txt"))


def test_nothing_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo.mp4")
    with pytest.raises(VideoError, match="FIFO"):
        open_clip(tmp_path / "fifo.mp4")
    with pytest.raises(VideoError, match="no such file"):
        open_clip(tmp_path / "missing.mp4")
    with pytest.raises(VideoError, match="no photos in this folder"):
        open_clip(tmp_path)


def test_large_frames_are_refused_before_they_are_decoded(lossless):
    with pytest.raises(VideoError, match="max_pixels"):
        open_clip(lossless, max_pixels=HW[0] * HW[1] - 1)
    assert len(list(open_clip(lossless, max_pixels=HW[0] * HW[1]))) == 6


@pytest.mark.parametrize("arguments", [{"every": 0}, {"first": -1}, {"first": 3, "end": 3}, {"end": 0}])
def test_choices_without_a_frame_are_told(lossless, arguments):
    with pytest.raises(ParameterError, match="expected"):
        open_clip(lossless, **arguments)


def test_without_pyav_the_extra_is_named(lossless, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"ovdeploy\[video\]"):
        open_clip(lossless)
