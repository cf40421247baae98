"""What `ovdeploy segment` does once its options are read: photo after photo, and told."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from ..answers.datasets import ANSWER_LIMIT
from ..answers.kinds import save_as
from ..answers.result import Result
from ..backends.registry import choose_backend
from ..boundary.reading import from_json, read_bytes, to_json
from ..bundle.bundle import Bundle
from ..bundle.fastest import resolved_precision
from ..errors import OF_ONE_PHOTO, EngineError, OutputError, PhotoError, printable
from ..files import check_folder
from ..photo.listing import Listing
from ..pipelines.base import Segmenter
from ..words.vocabulary import Vocabulary, has_background, parse_classes
from .failing import tell_failed
from .joined import Whole, join
from .progress import Lines, progress_bar, status_reporter
from .record import Record
from .tasks import Task, least_bytes, pending, suffixes_of

JSON = "json"
"""The kind of answer that lines of `--json` are."""


class Words(NamedTuple):
    """The words that were given, before they are embedded."""

    entries: list[str] | None
    """One a class; None means the bundle's own, unless there is a file."""
    templates: tuple[str, ...]
    """Empty means the bundle's."""
    saved: Vocabulary | None
    """From a file of `Vocabulary.save`."""
    background: bool | None

    def embedded(self, segmenter: Segmenter, console: Console) -> Vocabulary:
        """The vocabulary."""
        if self.saved is not None:
            return self.saved
        with console.status("embedding names") as status:
            return segmenter.vocabulary(
                self.entries,
                templates=self.templates or None,
                background=self.background,
                progress=status_reporter(status),
            )

    def classes(self, bundle: Bundle) -> tuple[tuple[str, ...], bool]:
        """The names of the classes, and whether the first is the background."""
        if self.saved is not None:
            return self.saved.names, self.saved.background
        synonyms = parse_classes(self._entries(bundle))
        background = has_background(synonyms) if self.background is None else self.background
        return tuple(words[0] for words in synonyms), background

    def _entries(self, bundle: Bundle) -> Sequence[str]:
        return (bundle.recipe.classes or ()) if self.entries is None else self.entries

    def depends(self, bundle: Bundle) -> Any:
        """All that the vocabulary depends on, beside the bundle."""
        if self.saved is None:
            return {"entries": self._entries(bundle), "templates": self.templates, "background": self.background}
        digest = hashlib.sha256(self.saved.embeddings.tobytes()).hexdigest()
        return {"synonyms": self.saved.synonyms, "embeddings": digest, "background": self.saved.background}


def resolved(bundle: Bundle, opening: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Segmenter.load` in which backend and precision are themselves, and nobody is left to choose.

    So answers are recorded by what they came of, and the machines of a batch do not choose each for itself.

    Raises:
        OvdeployError: there is no such backend, or it is not installed.
    """
    precision = resolved_precision(bundle, opening["precision"], opening["backend"])
    return {**opening, "precision": precision, "backend": choose_backend(opening["backend"], precision)}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run of `segment`."""

    bundle: Bundle
    photos: Listing
    words: Words
    parameters: Mapping[str, Any]
    output: Path
    kinds: tuple[str, ...]
    overwrite: bool
    allow_urls: bool
    as_json: bool
    running: Mapping[str, Any]
    """Of `Segmenter.segment_many`."""
    opening: Mapping[str, Any]
    """Of `Segmenter.load`; `resolved`."""

    def depends(self) -> dict[str, Any]:
        """All that results depend on but the photo, as plain values; in whose words differences are told."""
        how = self.opening
        return {
            "bundle": self.bundle.digest,
            "words": msgspec.to_builtins(self.words.depends(self.bundle)),
            "parameters": msgspec.to_builtins(self.bundle.recipe.override(self.parameters)),
            "backend": how["backend"],
            "precision": how["precision"],
            "backend options": dict(how["backend_options"]),
        }


def segmented(job: Job, console: Console) -> int:
    """Segment what is not done, and tell of all; the number of photos that failed.

    Raises:
        OvdeployError: what would befall every photo.
    """
    with Record(job.output, job.depends(), overwrite=job.overwrite) as record:
        if record.differs and not job.as_json:
            _tell(f"{job.output} holds results that differ in: {', '.join(record.differs)}; they are made anew")
        check_folder(job.output, expected=least_bytes(job.photos, len(record), job.kinds))
        run = _Run(job, record, console)
        tasks = run.pending()
        with run.shown("looking what is done", transient=True):
            first = next(tasks, None)
        if first is not None:  # else no engine is opened
            run.segment(chain([first], tasks))
        if not job.as_json:
            _tell(run.summary())
        if (joined := run.joined()) and not job.as_json:
            _tell(f"all photos together: {', '.join(str(path) for path in joined)}")
    return run.failed


class _Run:
    """A run, and how far it is."""

    def __init__(self, job: Job, record: Record, console: Console) -> None:
        self._job, self._record, self._console = job, record, console
        self._advance: Callable[[str], None] = lambda name: None
        self._begun: deque[Task] = deque()
        self._whole = Whole()
        self.failed, self.skipped, self.done = 0, 0, 0

    @contextmanager
    def shown(self, doing: str, *, transient: bool = False) -> Iterator[None]:
        """Show how far the photos are, while this goes on; transiently on a terminal alone, and else in lines."""
        if transient and not self._console.is_terminal:  # where a bar that disappears leaves an empty line
            lines, total = Lines(self._console), len(self._job.photos)
            self._advance = lambda name: None if self._job.as_json else lines.tell(f"{doing}: {self._told} of {total}")
            yield
            return
        with progress_bar(self._console, quiet=self._job.as_json, transient=transient) as progress:
            bar = progress.add_task(doing, total=len(self._job.photos), completed=self._told)

            def advance(name: str) -> None:
                shown = escape(printable(os.path.basename(name)))
                progress.update(bar, description=shown or doing, completed=self._told)

            self._advance = advance
            yield

    @property
    def _told(self) -> int:
        return self.failed + self.skipped + self.done

    def pending(self) -> Iterator[Task]:
        """The tasks that are not done; what is done is told and counted."""
        job = self._job
        return pending(job.photos, self._record, job.kinds, allow_urls=job.allow_urls, skipped=self._skip)

    def segment(self, tasks: Iterator[Task]) -> None:
        """Do tasks, several at once, and write what comes of each."""
        job = self._job
        with Segmenter.load(job.bundle.path, parameters=job.parameters, **job.opening) as segmenter:
            if not job.as_json:
                _tell(f"engines: {segmenter.backend}, {segmenter.precision}")
            vocabulary = job.words.embedded(segmenter, self._console)
            results = segmenter.segment_many(map(self._begin, tasks), vocabulary, **job.running)
            with self.shown("segmenting"), closing(results):  # whatever fails, the bar ends before the error is told
                for result in results:
                    task = self._begun.popleft()
                    self._end(task, result)
                    self._advance(task.photo.name)

    def joined(self) -> list[Path]:
        """Write what all photos are together, as far as it is asked for and not there."""
        job = self._job
        classes = partial(job.words.classes, job.bundle)
        return join(job.output, job.kinds, job.photos, self._whole, self._record, classes)

    def summary(self) -> str:
        """What became of the photos, in a line."""
        total = len(self._job.photos)
        if total and self.skipped == total:
            return (
                f"nothing to do: all {total} photos were done before, in {self._job.output} "
                f"(--overwrite does them again)"
            )
        before = f", {self.skipped} were done before" if self.skipped else ""
        return f"{self.done} of {total} photos segmented{before}, in {self._job.output}"

    def _begin(self, task: Task) -> Any:
        self._begun.append(task)
        return task.photo

    def _skip(self, task: Task) -> None:
        self.skipped += 1
        self._whole.add(task)
        self._advance(task.photo.name)
        if self._job.as_json:
            self._print(task, {**self._said(task), "skipped": True})

    def _said(self, task: Task) -> dict[str, Any]:
        """What the JSON of a photo that was done before says; nothing if there is none."""
        if JSON not in self._job.kinds:
            return {}
        try:
            said = from_json(
                read_bytes(self._job.output / f"{task.name}.json", OutputError, "the result", ANSWER_LIMIT)
            )
            return said if isinstance(said, dict) else {}
        except (OutputError, ValueError, RecursionError):  # somebody has written there meanwhile
            return {}

    def _end(self, task: Task, result: Result | PhotoError | EngineError) -> None:
        """Write a result; an error of this photo is told, and the next may be fine."""
        job = self._job
        try:
            if not isinstance(result, Result):
                raise result
            self._record.begin(task.name)
            save_as(result, job.kinds, job.output / task.name)
            self._record.add(task.name, task.photo, suffixes_of(job.kinds))
            self.done += 1
            self._whole.add(task)
            if job.as_json:
                self._print(task, result.to_dict())
        except OF_ONE_PHOTO as error:
            self.failed += 1
            self._whole.miss(task)
            tell_failed(error, task.photo.name, job.output, job.as_json)

    def _print(self, task: Task, told: Mapping[str, Any]) -> None:
        line = {"image": task.photo.name, "output": str(self._job.output / task.name), **told}
        click.echo(to_json(line).decode())


def _tell(line: str) -> None:
    click.echo(printable(line), err=True)
