"""A process that tries cases and prints a line of JSON for each. It may not grow by more than 2 GB.

python -m support.vile.worker BUNDLE FOLDER --share 0/2 [--count N] [--seed S] [--after K]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import resource
import signal
import sys
import threading
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .cases import SEED, Case, all_cases, chosen
from .doors import World
from .values import OwnError

SECONDS, GROWTH = 5.0, 2 << 30
"""A call may take so long, and so many bytes."""

SLACK = 3.0
"""The machine may be busy with other work: a call is told as slow by the processor time of this process."""


class TooLong(BaseException):
    """A case that takes too long, where Python can be interrupted."""


def without_privileges() -> None:
    """Root may read what nobody may: give that up, so that a locked file is locked."""
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, data) == 0:
        for index in (0, 1):  # effective, permitted
            data[index] &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        libc.capset(header, data)


def limit_memory() -> None:
    """No more private memory than there is now and 2 GB."""
    told = Path("/proc/self/status").read_text()
    now = int(re.search(r"VmData:\s+(\d+) kB", told)[1]) * 1024  # type: ignore[index]
    resource.setrlimit(resource.RLIMIT_DATA, (now + GROWTH, now + GROWTH))


def attempt(case: Case) -> dict[str, Any]:
    """One case: "ok", "refused" by an error of ours, or what else happened."""
    from ovdeploy.runtime.errors import OvdeployError

    start, used = time.perf_counter(), time.process_time()
    signal.setitimer(signal.ITIMER_REAL, SECONDS * SLACK)
    outcome, told = "ok", ""
    try:
        case.run()
    except TooLong:
        outcome = "too long"
    except OvdeployError as error:
        outcome = "refused" if str(error).strip() else "a refusal without words"
        told = str(error)
    except (OwnError, TypeError) as error:  # a type that is called is a function with other parameters
        outcome, told = ("theirs", "") if case.theirs else (type(error).__name__, f"{error} {_where(error)}")
    except BaseException as error:
        outcome, told = type(error).__name__, f"{error} {_where(error)}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = min(time.perf_counter() - start, time.process_time() - used)
    if seconds > SECONDS and outcome in ("ok", "refused", "theirs"):
        outcome = "too long"
    return {"outcome": outcome, "told": told[:300], "seconds": round(seconds, 3)}


def _where(error: BaseException) -> str:
    """The last line of this package's that the error went through."""
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if "ovdeploy" in frame.filename]
    return f"({'/'.join(Path(lines[-1].filename).parts[-2:])}:{lines[-1].lineno})" if lines else "(outside)"


def _interrupt(*_: object) -> None:
    raise TooLong


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("tracking", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--after", type=int, default=-1)
    parser.add_argument("--always", nargs="*", default=[])
    given = parser.parse_args()
    without_privileges()
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if find_spec("torch"):
        import torch  # noqa: F401 (not under the limit of memory: what it reserves is no case's)
    world = World(given.bundle, given.tracking, given.folder)
    cases = list(all_cases(world))
    part, parts = map(int, given.share.split("/"))
    mine = [i for i in chosen(cases, given.count, given.seed, given.always) if i % parts == part and i > given.after]
    signal.signal(signal.SIGALRM, _interrupt)
    limit_memory()
    print(json.dumps({"cases": len(mine), "names": [(i, cases[i].name) for i in mine]}), flush=True)
    threads = threading.active_count()
    for index in mine:
        found = attempt(cases[index])
        print(json.dumps({"index": index, "name": cases[index].name, **found}), flush=True)
    print(json.dumps({"threads": threading.active_count() - threads}), flush=True)


if __name__ == "__main__":
    main()
