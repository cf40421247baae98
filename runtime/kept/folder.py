"""A folder that a library fills and reads by itself, with files of its own names: checked before, sealed after.

What the library wrote is noted with digests when it is done. The next time, all that is not there as it was noted is
removed before the library may look.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from ..boundary.reading import reason
from .form import Form
from .trust import UnfitError, check_folder, open_kept, tell_once

SUMS = "ovdeploy.sums"
PIECE = 1 << 20


class KeptFolder:
    """One such folder.

    Attributes:
        path: where it is.
    """

    def __init__(self, form: Form, path: Path, key: str) -> None:
        """A folder.

        Args:
            form: of the file with the digests.
            path: the folder's.
            key: all that its files were made from.
        """
        self._form, self.path, self._key = form, path, key

    def prepare(self) -> bool:
        """Remove what is not as it was when the folder was sealed.

        Returns:
            Whether the library may use the folder.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            check_folder(self.path)
            known = self._known()
            for item in self._items():
                if known.get(item.name) != _digest(item):
                    if item.name in known:
                        tell_once(f"{item} is damaged, and made anew")
                    _remove(item)
        except (OSError, UnfitError) as error:
            tell_once(f"{self.path} is not used for what is compiled, which takes time: {reason(error)}")
            return False
        return True

    def seal(self) -> None:
        """Note what lies there now."""
        sums = {item.name: _digest(item) for item in self._items()}
        self._form.write(self.path / SUMS, self._key, msgspec.json.encode(sums))

    def _items(self) -> list[Path]:
        return [item for item in self.path.iterdir() if item.name != SUMS]

    def _known(self) -> dict[str, str]:
        content = self._form.read(self.path / SUMS, self._key)
        try:
            return msgspec.json.decode(content or b"{}", type=dict[str, str])
        except msgspec.DecodeError:
            return {}


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty for what is no file that only we could write."""
    try:
        descriptor = open_kept(path)
    except UnfitError:
        return ""
    if descriptor is None:
        return ""
    digest = hashlib.sha256()
    with open(descriptor, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        os.unlink(path)
