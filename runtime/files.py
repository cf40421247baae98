"""Files that are either whole or absent, their fingerprints, and folders that can be written to."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .boundary.reading import is_there, opened, reason, why_no_file
from .errors import FileError, OutputError, OvdeployError

CACHE_VARIABLE = "OVDEPLOY_CACHE"

MARK, PARTIAL = ".ovdeploy-", ".partial"
"""How names of temporary files begin and end: hidden, and with a suffix that no reader of photos or tables takes."""

STALE = 24 * 3600.0
"""Seconds after which a temporary file is nobody's, whatever process has its writer's number by now."""

LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""Errors of a disk, or of limits on it, that the next file will meet too."""

_asking = threading.Lock()
_swept: set[str] = set()


def cache_root() -> Path:
    """Where what can be made again is kept: `$OVDEPLOY_CACHE`, or `ovdeploy` in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else _user_caches() / "ovdeploy"


def _user_caches() -> Path:
    """The user's folder for caches. A user without a home (a service, a container) has one among temporary files."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"ovdeploy-{os.getuid()}"


@contextmanager
def atomic_path(path: str | Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    The temporary path has a suffix of its own, so who writes there names the format. What killed processes left in the
    folder is removed when this process first writes to it.

    Args:
        path: the file.
        mode: its rights, as far as the user's umask allows them.

    Raises:
        FileError: the system refuses it.
    """
    path = Path(path)
    if why := no_name(path):
        raise FileError(f"{path!r} cannot be written: {why}")
    if is_there(path) and (why := why_no_file(path)):
        raise FileError(f"{path} cannot be written: {why}")
    make_folder(path.parent)
    with writing(path):
        _sweep_once(path.parent)
        temporary = _temporary(path.parent)
        try:
            yield temporary
            os.chmod(temporary, mode & ~_umask())  # mkstemp makes files private; a result follows the user's umask
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def no_name(path: Path) -> str:
    """Why no file can have this name, in words; empty if one can."""
    try:
        return "a name has no NUL" if b"\0" in os.fsencode(path) else ""
    except ValueError as error:
        return reason(error)


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """What the system refuses within is told as a refusal to write this path.

    Raises:
        FileError: no permission, no room, a name that is too long, a folder where a file should be, …
    """
    try:
        yield
    except OvdeployError:
        raise
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def room_for(target: str | Path) -> Iterator[None]:
    """A disk that fills up or breaks while a place is made is told with the place, and that nothing is lost by it.

    Raises:
        FileError: instead of such an error of the system; others come through.
    """
    try:
        yield
    except OvdeployError:
        raise
    except OSError as error:
        if not is_lasting(error):
            raise
        told = f"{target} cannot be written: {reason(error)}. The same command goes on where this one stopped"
        raise FileError(told, error.errno) from error


def _unwritable(path: str | Path, error: OSError | ValueError) -> FileError:
    return FileError(f"{path} cannot be written: {reason(error)}", getattr(error, "errno", None))


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it; one that is there stays.

    Raises:
        FileError: the system refuses it.
    """
    with writing(path):
        try:
            Path(path).mkdir(parents=True, exist_ok=True)
        except ValueError as error:  # NUL, or characters that no name can have
            raise _unwritable(path, error) from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def named_by_content(path: Path, suffix: str) -> Path:
    """Rename a file so that its name tells its content: `head.fp32.onnx` becomes `head.fp32.1f0c8ab2d93e.onnx`.

    Args:
        path: the file.
        suffix: how its name ends, ".onnx" for example; the content is told before that.

    Returns:
        The file's new path.
    """
    named = path.with_name(f"{path.name.removesuffix(suffix)}.{sha256_of(path)[:12]}{suffix}")
    path.replace(named)
    return named


def sweep(folder: str | Path) -> None:
    """Remove the temporary files that killed processes left in a folder.

    Only names that `atomic_path` gives are looked at. A process is known to be gone only where it ran: what came from
    another machine, or another container, stays for a day.
    """
    with contextlib.suppress(OSError):  # a folder that is not there, or cannot be listed
        for entry in os.scandir(folder):
            if entry.name.startswith(MARK) and entry.name.endswith(PARTIAL):
                with contextlib.suppress(OSError):
                    if _is_left(entry):
                        os.unlink(entry.path)


def is_hidden(path: Path) -> bool:
    """Whether a name is hidden, as leftovers and other programs' own files are: no walk takes it for a photo."""
    return path.name.startswith(".")


def check_folder(folder: str | Path, expected: int = 0) -> None:
    """Find out whether results can be written, before anything is computed for them.

    A file is written and removed again, in the folder or, as long as it is not there, in the one that it will be made
    in. Permissions, read-only disks, quotas and full disks show there alone.

    Args:
        folder: where results will go.
        expected: bytes that they will take at least.

    Raises:
        OutputError: nothing can be written, or less is free than is expected.
    """
    there = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if is_there(place))
    try:
        probe = _temporary(there)
        try:
            probe.write_bytes(bytes(4096))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"nothing can be written to {folder}: {reason(error)}. Choose another folder") from error
    free = shutil.disk_usage(there).free
    if free < expected:
        raise OutputError(
            f"the disk of {folder} has {free / 1e6:.0f} MB free, and the results will take at least "
            f"{expected / 1e6:.0f} MB. Free some, or choose another folder"
        )


def is_lasting(error: OSError) -> bool:
    """Whether the next file would meet this error too: a disk that is full, read-only or broken."""
    return error.errno in LASTING


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces.

    Raises:
        FileError: it cannot be read.
    """
    digest = hashlib.sha256()
    with opened(path, FileError, "the file") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _temporary(folder: Path) -> Path:
    """A new empty file whose name says who made it: where, and in which process."""
    handle, name = tempfile.mkstemp(prefix=f"{MARK}{_here()}-{os.getpid()}-", suffix=PARTIAL, dir=folder)
    os.close(handle)
    return Path(name)


@cache
def _here() -> str:
    """This machine, or this container: where numbers of processes mean the same."""
    try:
        numbers = os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        numbers = ""
    return hashlib.sha256(f"{platform.node()} {numbers}".encode()).hexdigest()[:8]


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Whether nobody will finish a temporary file."""
    place, process, *_ = (*entry.name.removeprefix(MARK).split("-"), "", "")
    if time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE:
        return True
    return place == _here() and process.isdecimal() and not _lives(int(process))


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is another user's
        return True
    return True


def _sweep_once(folder: Path) -> None:
    """Sweep a folder, if this process has not done it yet."""
    name = os.path.abspath(folder)
    if name not in _swept:
        _swept.add(name)
        sweep(folder)


def _umask() -> int:
    with _asking:  # it can only be read by setting it, for the whole process
        mask = os.umask(0)
        os.umask(mask)
    return mask
