"""A trial's own process: opens one engine, runs it once on small inputs, and ends.

`trials` starts it, with an `Attempt` on its standard input.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import msgspec

from .attempt import BEGUN, NOT_OPENED, Attempt
from .measures import example_feeds
from .registry import open_session

FEW = 2
"""Rows of an axis whose sizes nobody tells."""


def attempt(what: Attempt) -> int:
    """Open an engine and run it once. What it answers does not matter here, only that the process lives.

    Returns:
        The exit code.
    """
    contract = what.contract
    sizes = {name: contract.axes[name].example if name in contract.axes else FEW for name in contract.dynamic_axes}
    try:
        session = open_session(Path(what.path), contract, what.backend, options=what.options)
    except Exception:
        return NOT_OPENED
    with session, contextlib.suppress(Exception):
        session.run_unchecked(example_feeds(contract, sizes))
    return 0


if __name__ == "__main__":
    print(BEGUN, flush=True)
    sys.exit(attempt(msgspec.json.decode(sys.stdin.buffer.read(), type=Attempt)))
