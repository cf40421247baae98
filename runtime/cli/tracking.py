"""What `ovdeploy track` does once its options are read: frame after frame, and told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from ..answers.instance import Instance, Subject
from ..boundary.reading import to_json
from ..errors import VideoError, printable
from ..pipelines.base import Segmenter
from ..pipelines.tracking.tracker import Tracker
from ..video.answer import FrameAnswer
from ..video.clip import Clip
from ..video.frame import Frame
from ..video.prompted import NAMES, follow_prompts
from ..video.prompts import ObjectPrompt
from ..video.ways import Answers, Follow, Way, follow_ways
from ..video.words import Joining, follow_words
from ..video.writing import clip_writer
from .failing import tell_error
from .progress import progress_bar, status_reporter


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be followed: its names, the frames that things begin on, and how."""

    names: tuple[str, ...]
    follow: Follow
    begun: Mapping[int, int] = field(default_factory=dict)


def prompted(tracker: Tracker, prompts: Sequence[ObjectPrompt]) -> Wanted:
    """Things that were pointed out."""

    def follow(frames: Iterable[Frame]) -> Answers:
        tracker.reset()
        return follow_prompts(frames, prompts, tracker)

    begun: dict[int, int] = {}
    for each in prompts:
        begun[each.object_id] = min(each.frame, begun.get(each.object_id, each.frame))
    return Wanted(names=NAMES, follow=follow, begun=begun)


@dataclass(frozen=True, kw_only=True)
class Words:
    """Words that are found in key frames."""

    bundle: Path
    things: Sequence[str]
    stuff: Sequence[str]
    """Further names of pixels, which are not followed."""
    joining: Joining
    opening: Mapping[str, Any]
    """Of `Segmenter.load`."""

    @contextmanager
    def opened(self, tracker: Tracker, console: Console, quiet: bool) -> Iterator[Wanted]:
        """Things that are found by words."""
        with Segmenter.load(self.bundle, **self.opening) as segmenter:
            with (Console(quiet=True) if quiet else console).status("embedding names") as status:
                vocabulary = segmenter.vocabulary([*self.things, *self.stuff], progress=status_reporter(status))
            count = len(self.things)

            def find(image: np.ndarray) -> list[Instance]:
                found = segmenter.segment(image, vocabulary).instances(min_area=self.joining.min_area)
                return [each for each in found if each.class_index < count]

            def follow(frames: Iterable[Frame]) -> Answers:
                tracker.reset()
                return follow_words(frames, find, tracker, self.joining)

            yield Wanted(names=vocabulary.names[:count], follow=follow)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run of `track`."""

    clip: Clip
    way: Way
    bundle: str
    """Digest of the tracker's bundle."""
    stem: Path
    """Of the files' names."""
    masks: bool
    overlay: bool
    as_json: bool


def tracked(job: Job, wanted: Wanted, console: Console) -> bool:
    """Follow what is wanted, and write and tell it; whether the clip could be read to its end.

    Raises:
        VideoError: there is no frame to answer.
        OvdeployError: a frame cannot be answered; nothing is left of the lines and the film.
    """
    told = _Told(job)
    with progress_bar(console, quiet=job.as_json) as bar:
        watched = partial(_watched, bar, job.clip)
        answers = follow_ways(job.clip, wanted.follow, job.way, wanted.begun, watched)
        first = next(answers, None)
        if first is None:
            raise VideoError(f"{job.clip.path}: none of the frames that are wanted is in the clip{_why(job.clip)}")
        subject = Subject(first[0].image.shape[:2], wanted.names, path=str(job.clip.path), bundle=job.bundle)
        rate = job.clip.rate
        with clip_writer(job.stem, subject, rate=rate, masks=job.masks, overlay=job.overlay) as writer:
            for frame, answer in chain([first], answers):
                writer.add(frame, answer)
                told.add(answer)
    told.end()
    return not job.clip.damage


def _why(clip: Clip) -> str:
    return f" ({clip.damage})" if clip.damage else ""


def _watched(bar: Any, clip: Clip, doing: str, frames: Iterable[Frame]) -> Iterator[Frame]:
    """Frames, counted as they are done."""
    task = bar.add_task(doing, total=clip.choice.among(clip.count) if clip.count else None)
    for frame in frames:
        yield frame
        bar.advance(task)


class _Told:
    """What is said on standard output: a line for each frame as JSON, or one for each thing at the end."""

    def __init__(self, job: Job) -> None:
        self._job, self._frames = job, 0
        self._seen: dict[int, tuple[str, list[int]]] = {}

    def add(self, answer: FrameAnswer) -> None:
        """Tell of a frame, or count it."""
        self._frames += 1
        for each in answer.instances:
            self._seen.setdefault(each.id, (each.class_name, []))[1].append(answer.number)
        if self._job.as_json:
            line = {"image": str(self._job.clip.path), "output": str(self._job.stem), **answer.to_dict()}
            click.echo(to_json(line).decode())

    def end(self) -> None:
        """Tell of all, and of damage."""
        job = self._job
        if not job.as_json:
            for identity, (name, frames) in sorted(self._seen.items()):
                span = f"from {frames[0]} to {frames[-1]}"
                click.echo(f"object {identity}  {name}  in {len(frames)} of {self._frames} frames, {span}")
            things = f"{len(self._seen)} object{'s' * (len(self._seen) != 1)}" if self._seen else "nothing was found"
            click.echo(printable(f"{self._frames} frames, {things}; written to {job.stem}.*"), err=True)
        if job.clip.damage:
            error = VideoError(f"{job.clip.path}: {job.clip.damage}. The {self._frames} frames before are answered")
            tell_error(error, job.as_json, image=str(job.clip.path))
