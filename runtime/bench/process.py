"""The parent's side of a runner: start its process, call it, end it."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from multiprocessing import Pipe
from types import TracebackType
from typing import Any

from ..backends.children import python_command
from ..errors import EngineError
from .memory import Memory
from .plan import Outcome, Spec

WORKER = "ovdeploy.runtime.bench.worker"

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables that libraries read only at their start."""


class Process:
    """A runner in its own process. A context manager; every method of the runner can be called by its name.

    Attributes:
        spec: what runs.
        opened_ms: milliseconds that opening took, imports included.
        started: when the process was started, by `time.perf_counter`.
    """

    def __init__(self, spec: Spec) -> None:
        """Start the process and wait until the runner is open.

        Raises:
            EngineError: it cannot be opened.
        """
        self.spec = spec
        self._owed = 0  # replies that have not come: of a call that was interrupted too
        self._connection, theirs = Pipe()
        self.started = time.perf_counter()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 (a list and no shell; this Python, and a module of ours)
                python_command(WORKER, str(theirs.fileno())),
                pass_fds=[theirs.fileno()],
                stdout=subprocess.DEVNULL,
                env=_environment(spec.threads),
            )
        try:
            self._send(spec)
            self.opened_ms: float = self._reply()
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the runner.

        Raises:
            EngineError: it failed, or the process ended.
        """
        with suppress(OSError):  # the process is gone; waiting for its reply tells why
            self._send((method, arguments))
        return self._reply()

    def run(self, *arguments: Any) -> Outcome:
        """The runner's `run`."""
        outcome: Outcome = self.call("run", *arguments)
        return outcome

    def memory(self) -> Memory:
        """Of the process."""
        memory: Memory = self.call("memory")
        return memory

    def close(self) -> None:
        """Hang up, and wait for the process to end."""
        self._connection.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, message: object) -> None:
        self._owed += 1
        self._connection.send(message)

    def _reply(self) -> Any:
        """The reply to the last message. Those to interrupted calls come before it, and nobody waits for them."""
        try:
            while True:
                state, result = self._connection.recv()
                self._owed -= 1
                if not self._owed:
                    break
        except (EOFError, OSError) as error:
            code = self._process.wait()
            why = f"signal {-code}{', which is how a machine without memory ends it' * (code == -9)}"
            raise EngineError(
                f"{self.spec.label}: its process ended with {why if code < 0 else f'exit code {code}'}"
            ) from error
        if state != "ok":
            raise EngineError(f"{self.spec.label}: {result}")
        return result


def _environment(threads: int | None) -> dict[str, str]:
    return {**os.environ, **({} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads)))}
