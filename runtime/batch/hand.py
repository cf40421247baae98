"""A worker, seen from its crew: its process, what it works on, and since when."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ..backends.children import python_command
from ..boundary.reading import is_folder
from ..errors import PhotoError
from .messages import Begun, Done, Ended, Message, Order, Ready, Refused, Spec, Work

WORKER = "ovdeploy.runtime.batch.worker"

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that libraries read only at their start."""

GRACE = 1.0
"""Seconds that a photo has at least when all before it are done: it may be done too, and its row on the way."""

HANGING_UP = 5.0
"""Seconds that a process has to end by itself."""


class Hand:
    """One worker, in a process of its own.

    Attributes:
        work: what it does; None while it has nothing to do.
        ready: what it said when it was open; None before.
        alone: whether no photo is begun before the row of the one before it came.
        peak: bytes of memory at most, as it last said.
    """

    def __init__(self, spec: Spec) -> None:
        """Start it; it opens its engines by and by.

        Raises:
            EngineError: this program has no Python that could be started.
            PhotoError: the folder in which names are looked for is not there.
        """
        if not is_folder(spec.folder):
            raise PhotoError(
                f"{spec.folder} is no folder on this machine, and photos are named from there; start the command in "
                f"one that all machines have"
            )
        self.connection: Connection
        self.connection, theirs = Pipe()
        self.work: Work | None = None
        self.ready: Ready | None = None
        self.alone = False
        self.peak = 0
        self._begun: dict[int, Begun] = {}
        self._since: dict[int, float] = {}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (a list and no shell; this Python, and a module of ours)
                python_command(WORKER, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=_environment(spec.threads),
                cwd=spec.folder,
            )
        with suppress(OSError):  # it is gone already; hearing nothing tells so
            self.connection.send(spec)

    def give(self, work: Work) -> None:
        """Give it a portion. What ended a worker before is done one photo at a time, so that it shows which it is."""
        self.work, self._begun, self._since, self._first_since = work, {}, {}, 0.0
        self.alone = bool(work.strikes or work.unfound)
        with suppress(OSError):  # as above
            self.connection.send(Order(work.portion, frozenset(work.rows), self.alone))

    def heard(self) -> Message | None:
        """What it says; None if it is gone.

        Raises:
            OvdeployError: what would befall every photo.
        """
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            return None
        if isinstance(message, Refused):
            raise message.error
        if isinstance(message, Ready):
            self.ready = message
        else:
            self._note(message)
        return message

    def _note(self, message: Message) -> None:
        assert self.work is not None, "it speaks of photos only while it has work"
        now = time.monotonic()
        if isinstance(message, Begun):
            self._begun[message.number], self._since[message.number] = message, now
        elif isinstance(message, Done):
            number = int(message.row["row"])
            self._begun.pop(number, None)
            self.work.add(message.row)
            self.work.seconds.append(message.seconds)
            self._since = {number: since for number, since in self._since.items() if number in self._begun}
            self._first_since = now
        elif isinstance(message, Ended):
            self.work.ended, self.peak = message, message.peak

    @property
    def in_work(self) -> tuple[Begun, ...]:
        """The photos that it has begun and not done, the first first."""
        return tuple(self._begun[number] for number in sorted(self._begun))

    def deadline(self, limit: float | None) -> float | None:
        """When the first photo in work will have taken too long, by `time.monotonic`; None if none will.

        Rows come in the photos' order, so only of the first it is known that it is not done. Its time begins when it
        becomes the first: before, it may have waited for the engines, which ran on another.

        Args:
            limit: seconds that a photo may take; None means any.
        """
        if limit is None or not self._begun:
            return None
        return max(self._since[min(self._begun)] + limit, self._first_since + max(limit, GRACE))

    _first_since = 0.0
    """When the first photo in work became the first."""

    def how_it_ended(self) -> str:
        """How its process ended, in words."""
        code = self._process.wait()
        why = f"signal {-code}{', which is how a machine without memory ends it' * (code == -9)}"
        return why if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self.connection.close()

    def close(self) -> None:
        """Hang up, and wait for it to end; one that has work is ended at once, for its rows are nobody's."""
        if self.work is not None:
            self.kill()
            return
        self.connection.close()
        try:
            self._process.wait(HANGING_UP)
        except subprocess.TimeoutExpired:
            self.kill()


def _environment(threads: int | None) -> dict[str, str]:
    return {**os.environ, **({} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads)))}
