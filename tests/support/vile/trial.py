"""Follows a worker: what it found, and what killed it or never came back."""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from support.samples import ROOT

KNOWN = Path(__file__).with_name("known.txt")
PATIENCE = 60.0
"""Seconds until a worker that says nothing is ended; it interrupts itself where Python can."""

START = 300.0
"""Until it has opened its bundle, on a machine that is busy."""

FINE = ("ok", "refused", "theirs")


class Known(NamedTuple):
    """Cases that are known to fail."""

    pattern: str
    example: str
    reason: str


def known() -> list[Known]:
    """What known.txt lists."""
    lines = (line for line in KNOWN.read_text().splitlines() if line and not line.startswith("#"))
    return [Known(*re.fullmatch(r"(.+) :: (.+?) -- (.+)", line).groups()) for line in lines]  # type: ignore[union-attr]


def tried(
    bundle: Path, tracking: Path, *, share: str = "0/1", count: int | None = None, seed: int = 17
) -> Iterator[dict[str, Any]]:
    """The outcomes of a share of the cases, in their order, on a bundle of all stages and on one of a tracker."""
    with tempfile.TemporaryDirectory(prefix="ovdeploy-vile-", ignore_cleanup_errors=True) as folder:
        after, names = -1, None
        for attempt in range(1000):
            own = Path(folder) / str(attempt)
            worker = _Worker((bundle, tracking), own, share, count, seed, after)
            done = True
            for line in worker.lines():
                if "names" in line:
                    names = dict(line["names"])
                elif "index" in line:
                    after = line["index"]
                    yield line
            _unlock(own)
            if worker.ended_well:
                return
            assert names is not None, f"the worker did not even begin: {worker.said()}"
            left = [index for index in names if index > after]
            if not left:
                return
            after, done = left[0], False
            yield {"index": after, "name": names[after], "outcome": worker.end, "told": worker.said(), "seconds": 0.0}
            assert not done


class _Worker:
    def __init__(
        self, bundles: tuple[Path, Path], folder: Path, share: str, count: int | None, seed: int, after: int
    ) -> None:
        command = [sys.executable, "-m", "support.vile.worker", *map(str, bundles), str(folder), "--share", share]
        command += ["--seed", str(seed), "--after", str(after), *(["--count", str(count)] if count is not None else [])]
        command += ["--always", *(each.example for each in known())]
        path = os.pathsep.join(filter(None, [str(ROOT / "tests"), os.environ.get("PYTHONPATH")]))
        environment = {
            **os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OVDEPLOY_CACHE": str(folder / "cache"),
            "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        folder.mkdir(parents=True)
        self._errors = tempfile.TemporaryFile("w+", errors="backslashreplace")  # noqa: SIM115 (lives as long as we)
        self._process = subprocess.Popen(  # in a folder of its own: a vile path may be one that can be written
            command, stdout=subprocess.PIPE, stderr=self._errors, env=environment, cwd=folder
        )
        self.end = ""
        self.ended_well = False

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        descriptor, rest, begun = self._process.stdout.fileno(), b"", False
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                start = time.monotonic()
                if not selector.select(PATIENCE if begun else START):
                    self._process.kill()
                    self.end = f"no answer for {time.monotonic() - start:.0f} s"
                    break
                piece = os.read(descriptor, 1 << 16)
                if not piece:
                    break
                begun = True
                *whole, rest = (rest + piece).split(b"\n")
                yield from map(json.loads, whole)
        code = self._process.wait()
        self._process.stdout.close()
        self.ended_well = code == 0
        self.end = self.end or f"the process ended with {code}"

    def said(self) -> str:
        """The end of what it wrote on standard error."""
        self._errors.seek(0)
        return self._errors.read()[-600:]


def _unlock(folder: Path) -> None:
    for path in (folder / "paths" / "shut", folder / "paths" / "locked"):
        if path.exists():
            path.chmod(0o700)


def unexpected(outcomes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What must not be, and nobody has listed as known."""
    patterns = [each.pattern for each in known()]
    failed = (found for found in outcomes if found["outcome"] not in FINE)
    return [found for found in failed if not any(fnmatchcase(found["name"], pattern) for pattern in patterns)]


def gone(outcomes: list[dict[str, Any]]) -> list[str]:
    """Known cases that no longer fail."""
    fine = {found["name"] for found in outcomes if found["outcome"] in FINE}
    return [each.example for each in known() if each.example in fine]
