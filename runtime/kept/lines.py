"""Lines of JSON that are appended one by one, each with a digest of what it says and of what it belongs to.

    {"digest":"…","entry":{…}}

A line that was altered, cut, or copied from another file does not fit; the others stand.
"""

from __future__ import annotations

import hashlib

_HEAD, _MIDDLE, _END = b'{"digest":"', b'","entry":', b"}\n"
_DIGEST_BYTES = 64
_START = len(_HEAD) + _DIGEST_BYTES + len(_MIDDLE)


class Lines:
    """Writes and reads the lines of one file."""

    def __init__(self, key: bytes) -> None:
        """Lines that belong to one thing.

        Args:
            key: what they belong to: all that they depend on.
        """
        self._seed = hashlib.sha256(b"ovdeploy line 1 " + hashlib.sha256(key).digest())

    def written(self, entry: bytes) -> bytes:
        """The line of an entry, which is JSON without a line break."""
        digest = self._seed.copy()
        digest.update(entry)
        return _HEAD + digest.hexdigest().encode() + _MIDDLE + entry + _END

    def read(self, line: bytes) -> bytes | None:
        """The entry of a line; None if the line is not one that was written."""
        entry = line[_START : -len(_END)]
        return entry if self.written(entry) == line else None
