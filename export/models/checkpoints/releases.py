"""Files of releases: fetched once, whole or not at all, and gone on with where a download broke off.

Weights on the Hugging Face hub are fetched by its own library, which timm and open_clip call.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ....runtime.boundary.reading import is_file, reason
from ....runtime.errors import WeightsError
from ....runtime.files import sha256_of
from ....runtime.reporting import logger

log = logger("export")

MIRROR = "OVDEPLOY_RELEASES"
"""Variable with the address of a mirror: https://HOST/PATH is then asked of $OVDEPLOY_RELEASES/HOST/PATH."""

PATIENCE = 30.0
"""Seconds without a byte."""

ATTEMPTS = 3
"""Connections that may break before the user hears of it."""

PIECE = 1 << 20


def release_file(url: str, folder: Path, digits: str | None = None) -> Path:
    """A file of a release: the one in a folder, or fetched into it.

    Args:
        url: where it is published, https. `OVDEPLOY_RELEASES` may name a mirror.
        folder: where it is kept, under the last part of its address.
        digits: the first of its SHA-256, where they are known. A file that is there already is then checked too, and
            a download that broke off is gone on with; without them it begins again, since another file may have
            taken its place.

    Raises:
        WeightsError: it cannot be fetched, broke off again and again, or is another file than the digits say.
        OSError: it cannot be written.
    """
    path = folder / url.rpartition("/")[2]
    if is_file(path) and (digits is None or sha256_of(path).startswith(digits)):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with _held(part, url) as file:
        if digits is None:
            file.truncate(0)
        _fetch(mirrored(url), file, "begins again" if digits is None else "goes on from there")
        if digits is not None and not (came := sha256_of(part)).startswith(digits):
            part.unlink()
            raise WeightsError(
                f"{mirrored(url)} gave a file whose SHA-256 begins with {came[: len(digits)]}, not {digits}: it is "
                f"another file, or was damaged on the way. It was not kept; try again."
            )
        os.replace(part, path)
    return path


def mirrored(url: str) -> str:
    """The address that is asked for a published one."""
    mirror = os.environ.get(MIRROR)
    return f"{mirror.rstrip('/')}/{url.partition('://')[2]}" if mirror else url


@contextmanager
def _held(part: Path, url: str) -> Iterator[BinaryIO]:
    """The unfinished file, open at its end; for one process at a time."""
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WeightsError(f"another process is fetching {url}; wait for it") from error
        if not _still(part, file):  # the process that held it has just finished, and renamed it
            raise WeightsError(f"another process has just fetched {url}; the same command takes its file")
        yield file


def _still(part: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(part))
    except OSError:
        return False


def _fetch(address: str, file: BinaryIO, next_time: str) -> None:
    """Bring a file to its end; `next_time` says what the same command will do if it cannot."""
    if urlsplit(address).scheme not in ("http", "https"):
        raise WeightsError(f"{address}: expected an address of http or https")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            expected = _go_on(address, file)
        except HTTPError as error:
            if error.code == 416 and file.tell():  # nothing is missing, or all is wrong
                return
            raise WeightsError(f"{address}: the server answered {error.code} ({error.reason})") from error
        except (OSError, ValueError, HTTPException) as error:
            cause = getattr(error, "reason", error)
            told = reason(cause) if isinstance(cause, BaseException) else str(cause)
        else:
            if expected is None or file.tell() == expected:
                return
            told = f"the connection ended after {file.tell()} of {expected} bytes"
        log.info("%s: %s (attempt %d of %d)", address, told, attempt, ATTEMPTS)
    raise WeightsError(
        f"{address}: the download broke off {ATTEMPTS} times, at last because {told}. "
        f"{file.tell()} bytes have come; the same command {next_time}."
    )


def _go_on(address: str, file: BinaryIO) -> int | None:
    """Append what is missing, and say how many bytes the whole has, if the server said it."""
    there = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "ovdeploy", **({"Range": f"bytes={there}-"} if there else {})}
    request = Request(address, headers=headers)  # noqa: S310 (http or https: see `_fetch`)
    with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310  # nosec B310
        if there and answer.status != 206:  # the server knows no ranges: all over again
            file.truncate(0)
            there = 0
        expected = _whole(answer, there)
        while piece := answer.read(PIECE):
            file.write(piece)
        file.flush()
    return expected


def _whole(answer: HTTPResponse, there: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return there + int(length) if length.isdecimal() else None
