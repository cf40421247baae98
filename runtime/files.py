"""Files that are either whole or absent, and their fingerprints."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .boundary.reading import is_there, opened, reason, why_no_file
from .errors import FileError, OvdeployError

CACHE_VARIABLE = "OVDEPLOY_CACHE"


_asking = threading.Lock()


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
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Raises:
        FileError: the system refuses it.
    """
    path = Path(path)
    if is_there(path) and (why := why_no_file(path)):
        raise FileError(f"{path} cannot be written: {why}")
    make_folder(path.parent)
    with writing(path):
        temporary = _temporary_beside(path)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files private; a result follows the user's umask
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _temporary_beside(path: Path) -> Path:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except ValueError as error:
        raise _unwritable(path, error) from error
    os.close(handle)
    return Path(name)


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


def _unwritable(path: str | Path, error: OSError | ValueError) -> FileError:
    if isinstance(error, OSError):
        return FileError(f"{path} cannot be written: {error.strerror or error}", error.errno)
    return FileError(f"{path} cannot be written: {reason(error)}")


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


def _umask() -> int:
    with _asking:  # it can only be read by setting it, for the whole process
        mask = os.umask(0)
        os.umask(mask)
    return mask
