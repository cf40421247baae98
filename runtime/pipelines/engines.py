"""Engines: the sessions of a bundle by stage."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from ..backends.base import HOST, Session, refuse_forked
from ..backends.options import SessionOptions
from ..backends.registry import choose_backend
from ..bundle.bundle import Bundle
from ..bundle.fastest import resolved_precision
from ..bundle.opening import hashed_ahead, open_stage
from ..errors import BundleError, EngineError, ParameterError, shown
from ..stage.precision import FP32

Calls = dict[str, list[dict[str, int]]]
"""The sizes of the named axes of every call, by stage."""

Ahead = Callable[[Iterable[str]], AbstractContextManager[Any]]
"""Prepares in the background what opening stages, in this order, will need."""

Wrap = Callable[[Session], Session]


def as_it_is(session: Session) -> Session:
    """Puts nothing in a session's place."""
    return session


class Engines(Mapping[str, Session]):
    """Sessions by stage: opened when they are asked for, counted while photos run, closed together.

    As a mapping it holds what is open; `engines[stage]` opens what is not. Threads may share it.

    Attributes:
        backend: what runs them.
        precision: what they compute in.
        bundle: the digest of the bundle that they are of; empty if they are of none.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session] | None = None,
        open_one: Callable[[str], Session] | None = None,
        *,
        ahead: Ahead = lambda stages: nullcontext(),
        backend: str = "",
        precision: str = "",
        bundle: str = "",
    ) -> None:
        """Engines.

        Args:
            sessions: those that are open already.
            open_one: opens the session of a stage; None if there are no others.
            ahead: prepares in the background what opening several will need, for as long as it takes.
            backend, precision: what runs them and what they compute in, for information.
            bundle: the digest of the bundle that they are of, likewise.
        """
        self._open = dict(sessions or {})
        self._open_one, self._ahead = open_one, ahead
        self._opening = threading.Lock()
        self._one_at_a_time = threading.RLock()
        self._calls: Calls | None = None
        self._closed, self._home = False, os.getpid()
        self.backend, self.precision, self.bundle = backend, precision, bundle

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        *,
        backend: str = "auto",
        precision: str = FP32,
        options: SessionOptions | None = None,
        wrap: Wrap = as_it_is,
    ) -> Engines:
        """The engines of a bundle; none is opened yet.

        Args:
            bundle: the bundle.
            backend: a key of `BACKENDS`, or "auto".
            precision: one that the bundle holds, or that the backend makes of FP32; "auto" is the fastest here.
            options: how to open them.
            wrap: what to put in the place of every session.

        Raises:
            BundleError: there is no such backend.
            MissingExtraError: it is not installed.
        """
        precision = resolved_precision(bundle, precision, backend)
        chosen = choose_backend(backend, precision)
        shared = options or SessionOptions()
        return cls(
            open_one=lambda stage: _wrapped(open_stage(bundle, stage, precision, chosen, shared), wrap),
            ahead=lambda stages: hashed_ahead(bundle, stages, precision, chosen),
            backend=chosen,
            precision=precision,
            bundle=bundle.digest,
        )

    def open(self, stages: Iterable[str]) -> None:
        """Open several, in their order.

        Raises:
            BundleError, EngineError: as the backend says; those that are open stay so, until `close`.
        """
        wanted = tuple(stages)
        with self._ahead([stage for stage in wanted if stage not in self]):
            for stage in wanted:
                self[stage]

    def __getitem__(self, stage: str) -> Session:
        """A stage's session, opened now if it is not open yet.

        Raises:
            BundleError: there is none, or the bundle lacks it.
            EngineError: they were closed, or opened by the process that this one was forked from.
        """
        refuse_forked(self._home, "this bundle")
        with self._opening:
            if stage not in self._open:
                if self._open_one is None:
                    raise BundleError(f"there is no session for {stage} here, and it is needed")
                self.refuse_closed()
                self._open[stage] = self._open_one(stage)
                self._listen(stage)
            return self._open[stage]

    def __contains__(self, stage: object) -> bool:
        return stage in self._open

    def __iter__(self) -> Iterator[str]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_closed(self) -> bool:
        """Whether they were closed."""
        return self._closed

    @property
    def on_host(self) -> bool:
        """Whether all that are open compute on the host."""
        return all(session.device == HOST for session in self._open.values())

    @property
    def turn(self) -> AbstractContextManager[Any]:
        """What a thread holds that works with them: nothing on the host; a lock on a GPU, whose buffers are shared."""
        return nullcontext() if self.on_host else self._one_at_a_time

    @contextmanager
    def counted(self) -> Iterator[Calls]:
        """Count the calls that are made within, those of engines included that are opened there.

        Yields:
            The calls so far.
        """
        calls: Calls = {}
        self._calls = calls
        for stage in self._open:
            self._listen(stage)
        try:
            yield calls
        finally:
            self._calls = None
            for session in self._open.values():
                session.listener = None

    def _listen(self, stage: str) -> None:
        if self._calls is not None:
            self._open[stage].listener = partial(_note, self._calls, stage)

    def tune(self) -> None:
        """Let every engine find out what is fastest for the shapes seen so far."""
        for session in self._open.values():
            session.tune()

    def refuse_closed(self) -> None:
        """Refuse what needs engines after they were closed.

        Raises:
            EngineError: they were.
        """
        if self._closed:
            raise EngineError("the engines are closed; open the bundle again")
        refuse_forked(self._home, "this bundle")

    def close(self) -> None:
        """Close all that are open, for good; on a GPU when the photo in work is done.

        In a process that was forked from the one that opened them, do nothing.
        """
        if self._home != os.getpid():
            return
        with self.turn:
            self._closed = True
            for session in self._open.values():
                session.close()


def _wrapped(session: Session, wrap: Wrap) -> Session:
    try:
        put: Any = wrap(session)
    except BaseException:
        session.close()
        raise
    if not isinstance(put, Session):
        session.close()
        raise ParameterError(f"wrap: expected a function that gives a Session for a session, it gave {shown(put)}")
    return put


def _note(calls: Calls, stage: str, sizes: dict[str, int]) -> None:
    calls.setdefault(stage, []).append(sizes)
