"""Files that are either whole or absent, and their fingerprints."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE_VARIABLE = "OVDEPLOY_CACHE"


_asking = threading.Lock()


def cache_root() -> Path:
    """Where what can be made again is kept: `$OVDEPLOY_CACHE`, or `ovdeploy` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(base) / "ovdeploy")


@contextmanager
def atomic_path(path: str | Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on failure.

    Args:
        path: the file.
        mode: its rights, as far as the user's umask allows them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, mode & ~_umask())  # mkstemp makes files private; a result should follow the user's umask
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def sha256_of(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _umask() -> int:
    with _asking:  # it can only be read by setting it, for the whole process
        mask = os.umask(0)
        os.umask(mask)
    return mask
