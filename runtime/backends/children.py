"""Processes of our own: modules of this package, run by the same Python on the same import path."""

from __future__ import annotations

import sys
from pathlib import Path

from ..errors import EngineError

START = (
    "import sys; sys.path[:] = {path!r}; import runpy; "
    "runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
)

PYTHONS = ("python", "pypy", "graalpy")
"""How the names of programs begin that take Python's own arguments."""


def python_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours in a process of its own.

    It does what `python -m` does, but for the import path: `-m` looks into the working folder first, and a `random.py`
    that lies among somebody's photos would run.

    Args:
        module: its full name.
        arguments: what it finds in `sys.argv` from 1 on.

    Raises:
        EngineError: this program has no Python that could be started: it is frozen, or Python is a guest in it.
    """
    program = sys.executable or ""
    if getattr(sys, "frozen", False) or not Path(program).name.lower().startswith(PYTHONS):
        raise EngineError(
            f"{module} runs in a process of its own, and this program has no Python to start ({program or 'nothing'!r} "
            f"is no interpreter); run it with an ordinary Python"
        )
    return [program, "-c", START.format(path=sys.path, module=module), *arguments]
