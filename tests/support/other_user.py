"""Another user, and a small disk: what root would not notice.

As root, permission tests would pass vacuously, so the code runs in a child process that becomes the user 65534. It
imports first: the interpreter may lie where that user may not go. Anybody else is refused by a folder without write
permission as it is, and the child stays who it is. A small disk is mounted by root; for others it is a limit on the
size of a file, which the system answers like a full disk, at the same place in the code.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534
BECOME = f"""
import os
if os.geteuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
"""
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"


WHOLE = "\nimport ovdeploy.runtime as whole\nfor name in whole.__all__: getattr(whole, name)\n"
"""Imports the package: its names are imported when they are asked for, and that user may not be able to read it."""


def as_nobody(imports: str, code: str, *arguments: str | Path, closed: Sequence[Path] = ()) -> str:
    """What Python code prints in a process of another user; the test fails if it fails.

    Args:
        imports: what is imported before the process becomes that user.
        code: what it runs; `sys.argv[1:]` are the arguments.
        arguments: of the code.
        closed: folders that it may read and not write.
    """
    is_root = os.geteuid() == 0
    for folder in closed:
        folder.chmod(0o755 if is_root else 0o555)
        if is_root:
            open_to_all(folder)
    try:
        return python(imports + WHOLE + BECOME + code, *arguments)
    finally:
        for folder in closed:
            folder.chmod(0o755)


def open_to_all(folder: Path) -> None:
    """Let every user pass through the folders above, as far as they are ours (pytest's are private)."""
    for above in folder.parents:
        if above.stat().st_uid == os.geteuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)


def on_small_disk(imports: str, code: str, folder: Path, size: int, *arguments: str | Path) -> str:
    """What Python code prints where a folder, its first argument, is on a disk of so many bytes.

    Without root no disk can be mounted: then no file may be larger than an eighth of that.
    """
    folder.mkdir()
    if os.geteuid() != 0:
        return python(imports + "\n" + LIMIT.format(size=size // 8) + code, folder, *arguments)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        return python(imports + "\n" + code, folder, *arguments)
    finally:
        subprocess.run(["umount", folder], check=True)


def python(code: str, *arguments: str | Path) -> str:
    """What a process prints; it must end with 0."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
