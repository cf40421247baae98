"""The manifest's seal: a digest of all that it says, so that no altered manifest is taken for the one that was written.

The digest is the SHA-256 of the manifest as canonical JSON (UTF-8, keys sorted, no spaces) without the key that holds
it. The manifest names every file by its own SHA-256, so the digest stands for the whole bundle. It tells accidents from
what was written; who wrote it, only a signature tells (`signature.py`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from ..errors import BundleError

DIGEST = "digest"
"""The manifest's key."""


def digest_of(data: dict[str, Any]) -> str:
    """The digest of a manifest, from what JSON says."""
    said = {key: value for key, value in data.items() if key != DIGEST}
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """A manifest's data with its digest."""
    return {**data, DIGEST: digest_of(data)}


def unsealed(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """A manifest's data without its digest, after the two have been compared.

    Args:
        data: what JSON says.
        path: of the file, for messages.

    Raises:
        BundleError: there is none, or the manifest is not the one that was written.
    """
    told, came = data.get(DIGEST), digest_of(data)
    if told != came:
        raise BundleError(
            f"{path} is not as it was written: its {DIGEST} is {_short(told)}, its content's is {_short(came)}. "
            "Copy the bundle again, or export it again. (Parameters are changed by --set or a parameters file, not by "
            "editing the manifest.)"
        )
    return {key: value for key, value in data.items() if key != DIGEST}


def _short(digest: Any) -> str:
    return f"{digest[:12]}…" if isinstance(digest, str) else "missing"
