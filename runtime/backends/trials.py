"""Trials: an engine in a combination that the package's tests never ran is first opened in a process of its own.

A library that crashes takes its process with it, and no `except` helps. So where the table `tried.TRIED` does not hold
the installed version with the engine's precision, a child opens the engine and runs it once. If the child dies, the
caller gets an `EngineError`; if it lives, that is remembered on this machine, and the next load starts no child.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import warnings
from functools import cache
from importlib.metadata import version
from pathlib import Path

import msgspec

from ..errors import EngineError, ParameterError
from ..reporting import logger
from ..stage.contract import StageContract
from .attempt import BEGUN, NOT_OPENED, Attempt
from .children import python_command
from .cpu import this_processor
from .options import SessionOptions
from .trial_memory import recall, remember
from .tried import DISTRIBUTIONS, TRIED, library_version, untried

log = logger("backends")

CHILD = "ovdeploy.runtime.backends.trial"

VARIABLE = "OVDEPLOY_TRIALS"
"""Seconds that a trial may take, or "off"."""

SECONDS = 300.0
"""Unless the variable says otherwise. The largest engine of the published models takes 30 on two cores."""

_lived: set[tuple[tuple[str, str], ...]] = set()
"""What lived in this process: for where no file can be kept."""


def try_first(backend: str, path: Path, contract: StageContract, options: SessionOptions) -> None:
    """Try an engine in a process of its own if nobody knows that its library lives through it.

    Args:
        backend: a key of `registry.BACKENDS`.
        path: the engine's file, already verified.
        contract: what it takes and gives.
        options: how it will be opened.

    Raises:
        EngineError: the process died, or did not end in time; says what to do.
        ParameterError: the environment variable is neither a number of seconds nor "off".
    """
    kinds = frozenset((options.precision, *options.kinds))
    if backend not in TRIED or not untried(backend, library_version(backend), kinds):
        return
    seconds = _seconds()
    what = Attempt(backend=backend, path=os.path.abspath(path), contract=contract, options=options)
    facts = _facts(what, kinds)
    key = tuple(sorted(facts.items()))
    if not seconds or key in _lived or recall(facts):
        return
    log.info("%s: %s is tried first, in a process of its own", contract.stage, _named(what))
    if _lives(what, seconds):
        _lived.add(key)
        if facts["version"]:  # a library without one may be another tomorrow
            remember(facts)


def _lives(what: Attempt, seconds: float) -> bool:
    """Whether the child opened the engine, ran it, and ended by itself.

    Raises:
        EngineError: it died, or did not end in time.
    """
    stage = what.contract.stage
    try:
        done = subprocess.run(  # noqa: S603 (a list and no shell; this Python, and a module of ours)
            python_command(CHILD),
            input=msgspec.json.encode(what),
            capture_output=True,
            timeout=seconds,
            env={**os.environ, VARIABLE: "off"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(_told(what, f"did not end within {seconds:g} s"), stage) from error
    except (OSError, EngineError) as error:
        return _without(what, str(error))
    if BEGUN.encode() not in done.stdout:
        return _without(what, _last_line(done.stderr) or f"it ended with exit code {done.returncode}")
    if done.returncode not in (0, NOT_OPENED):
        raise EngineError(_told(what, f"died of {_death(done.returncode)}"), stage)
    return done.returncode == 0


def _without(what: Attempt, why: str) -> bool:
    """Say that an engine is opened untried."""
    warnings.warn(
        f"{what.contract.stage}: {_named(what)} was never run in {what.options.precision} by this package's tests, and "
        f"no process could be started to try it first ({why}); it is opened as it is",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


def _told(what: Attempt, how: str) -> str:
    kinds = {what.options.precision, *what.options.kinds}
    good = [number for number, ran in TRIED[what.backend].items() if kinds <= set(ran)]
    others = f", or a version of {DISTRIBUTIONS[what.backend][0]} that they ran: {', '.join(good)}" if good else ""
    return (
        f"{what.contract.stage}: a process that tried this {what.options.precision} engine with {_named(what)} {how}, "
        f"so it was not opened here. This package's tests never ran that combination. Take another --backend or "
        f"--precision{others}. ({VARIABLE}=SECONDS gives a trial more time, {VARIABLE}=off opens engines without one.)"
    )


def _named(what: Attempt) -> str:
    return f"{what.backend} {library_version(what.backend) or 'of an unknown version'}"


def _death(code: int) -> str:
    if code >= 0:
        return f"exit code {code:#x}" if code > 0xFF else f"exit code {code}"  # Windows tells a crash so
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"{name}{', which is how a machine without memory ends a process' if name == 'SIGKILL' else ''}"


def _last_line(told: bytes) -> str:
    lines = told.decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _seconds() -> float:
    """How long a trial may take; 0 where there is none."""
    given = os.environ.get(VARIABLE, "").strip().lower()
    if given == "off":
        return 0.0
    try:
        seconds = float(given or SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise ParameterError(f"{VARIABLE}={given!r}: expected a number of seconds above 0, or off")
    return seconds


def _facts(what: Attempt, kinds: frozenset[str]) -> dict[str, str]:
    """All that a trial's outcome holds for. A graph without an identity stands for all of its stage."""
    return {
        "backend": what.backend,
        "version": library_version(what.backend),
        "kinds": " ".join(sorted(kinds)),
        "engine": what.options.identity or what.contract.stage,
        "processor": processor(),
        "package": version("ovdeploy"),
    }


@cache
def processor() -> str:
    """What this processor can do, or else its name: kernels are chosen by that."""
    told = this_processor()
    return " ".join(sorted(told.flags)) or f"{platform.machine()} {told.name or platform.processor()}"
