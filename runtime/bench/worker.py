"""A runner's own process: opens what a spec names and answers calls until its parent hangs up.

Started as `python -m ovdeploy.runtime.bench.worker FD`, where FD is one end of a pipe. The first message is the spec,
every other `(method, arguments)`; each is answered with `("ok", result)` or `("error", message)`.
"""

from __future__ import annotations

import signal
import sys
import time
from importlib.metadata import entry_points
from multiprocessing.connection import Connection
from typing import Any

from ..errors import OvdeployError
from ..reporting import logged
from .memory import own_memory
from .plan import Spec


def serve(connection: Connection) -> None:
    """Answer a parent until it hangs up."""
    spec: Spec = connection.recv()
    start = time.perf_counter()
    try:
        opener = entry_points(group=spec.group)[spec.kind].load()
        with opener(spec) as runner:
            connection.send(("ok", (time.perf_counter() - start) * 1e3))
            _answer(connection, runner)
    except EOFError:
        pass
    except Exception as error:  # told to the parent, who says it in one line
        connection.send(("error", _told(error)))


def _answer(connection: Connection, runner: Any) -> None:
    while True:
        method, arguments = connection.recv()
        try:
            result = own_memory() if method == "memory" else getattr(runner, method)(*arguments)
        except Exception as error:  # one failed photo does not end the process
            connection.send(("error", _told(error)))
        else:
            connection.send(("ok", result))


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, OvdeployError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us too, and is the parent's to answer
    with logged(0, lambda line: print(line, file=sys.stderr, flush=True)):  # as the command that started us does
        serve(Connection(int(sys.argv[1])))
