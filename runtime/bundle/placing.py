"""Putting a bundle in its place, such that a reader finds the old one or the new one, whenever the writer is killed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from .bundle import Bundle, Manifest, write_manifest

OURS = re.compile(r"\w+\.\w+\.[0-9a-f]{12}\.onnx(\.data)?|tokenizer\.[0-9a-f]{12}\.json")
"""Names that only our writers give: with the content's hash."""


def put_in_place(made: Path, output: Path, manifest: Manifest, previous: Bundle | None) -> None:
    """Move files into a bundle, then write its manifest, then remove what nothing names any more.

    Files are named by their content, so that none takes an old one's place before the manifest does.

    Args:
        made: the folder of files that were made; it is removed.
        output: the bundle's folder.
        manifest: the new one.
        previous: the bundle that is there.
    """
    output.mkdir(parents=True, exist_ok=True)
    named = {entry.path for entry in manifest.files()}
    for path in made.iterdir():
        if path.name in named:
            path.replace(output / path.name)
    write_manifest(output, manifest)
    before = {entry.path for entry in previous.manifest.files()} if previous is not None else set()
    left = {path.name for path in output.iterdir() if OURS.fullmatch(path.name)}  # by a writer that was killed
    for name in (before | left) - named:
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(made)
