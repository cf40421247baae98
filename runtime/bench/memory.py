"""A process's share of the machine's memory, as Linux tells it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import EngineError

STATUS = Path("/proc/self/status")


class Memory(NamedTuple):
    """Of one process, in bytes. Files that are mapped into it count where their pages are in memory."""

    resident: int
    """Now."""
    peak: int
    """At most since the process began."""


def own_memory(status: Path = STATUS) -> Memory:
    """Of this process.

    From `/proc`, since `ru_maxrss` of a child begins with its parent's.

    Raises:
        EngineError: there is no such file here, or not with these lines.
    """
    try:
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return Memory(*(int(lines[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM")))
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise EngineError(f"{status} does not tell this process's memory; this needs Linux") from error
