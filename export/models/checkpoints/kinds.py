"""What a file is, told by its first bytes: people take many things for a checkpoint, and a suffix says little."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

HEAD = 512
"""Bytes that are looked at."""

DOWNLOAD = "Download the file itself"
CONVERT = "Load it with the library that wrote it, and save the model's state dict by torch.save or safetensors"


class Kind(NamedTuple):
    """Something that is no checkpoint."""

    test: Callable[[bytes], object]
    """Whether a file is one, by its first `HEAD` bytes."""
    what: str
    advice: str


def _starts(*magic: bytes) -> Callable[[bytes], object]:
    return lambda head: head.startswith(magic)


def _like(pattern: bytes) -> Callable[[bytes], object]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL).match


def _at(offset: int, magic: bytes) -> Callable[[bytes], object]:
    return lambda head: head[offset : offset + len(magic)] == magic


OTHERS: tuple[Kind, ...] = (
    Kind(lambda head: not head, "is empty", f"{DOWNLOAD} again; a disk that was full leaves such files"),
    Kind(lambda head: not head.strip(b"\0"), "holds only zeros", f"{DOWNLOAD} again: space was kept, nothing came"),
    Kind(
        _starts(b"version https://git-lfs"),
        "is a Git LFS pointer: a note of where the file is",
        "Run `git lfs pull` in the clone, or download the file itself",
    ),
    Kind(
        _like(rb"\S*/annex/objects/"),
        "is a git-annex pointer: a note of where the file is",
        "Run `git annex get` on it",
    ),
    Kind(
        _like(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b"),
        "is a web page (HTML): a login, a notice or an error was saved in the file's place",
        f"{DOWNLOAD}, logged in where the site asks for it; the page's first lines say what it wants",
    ),
    Kind(
        _like(rb"(<\?xml.*)?<error>"),
        "is an error message of a storage service (XML)",
        "The link has run out, or asks for a login",
    ),
    Kind(
        _like(rb"\s*(<\?xml.*)?<net\b"), "is an OpenVINO model (XML)", "Weights come from the model before conversion"
    ),
    Kind(_starts(b"GGUF", b"ggml", b"lmgg", b"ggjt"), "is a GGUF or GGML file of quantised weights", CONVERT),
    Kind(_starts(b"\x89HDF\r\n\x1a\n"), "is an HDF5 file (Keras, TensorFlow)", CONVERT),
    Kind(_starts(b"\x93NUMPY"), "is a NumPy array", CONVERT),
    Kind(_at(4, b"TFL3"), "is a TensorFlow Lite model", CONVERT),
    Kind(
        _starts(b"ftrt", b"ptrt"),
        "is a TensorRT engine",
        "Engines hold no weights by name; give the checkpoint that it was made of",
    ),
    Kind(
        _like(
            rb"([\x80-\x8f]|\xde..|\xdf....)([\xa1-\xbf]|\xd9.)"
            rb"(params|target|state|model|opt_state|step|vision_model|text_model|embeddings|encoder|layernorm|shared)"
        ),
        "is a Flax checkpoint (msgpack)",
        CONVERT,
    ),
    Kind(_starts(b"\x08\x01\x12"), "is a TensorFlow SavedModel", CONVERT),
    Kind(
        _like(rb"\x08[\x02-\x20][\x12\x1a\x22:B]"),
        "is an ONNX model",
        "Graphs rename weights; give what it was made from",
    ),
    Kind(_at(257, b"ustar"), "is a tar archive", "Unpack it and give the checkpoint in it"),
    Kind(_starts(b"\x1f\x8b"), "is compressed by gzip", "Unpack it and give the checkpoint in it"),
    Kind(
        _starts(b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!"),
        "is a compressed archive",
        "Unpack it and give the checkpoint in it",
    ),
    Kind(_starts(b"%PDF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8"), "is a document or a picture", f"{DOWNLOAD}"),
    Kind(_starts(b"\x7fELF", b"MZ", b"#!"), "is a program", DOWNLOAD),
    Kind(_starts(b"PAR1", b"SQLite format 3"), "is a data base", DOWNLOAD),
)
"""In the order in which they are asked."""

JSON = re.compile(rb"(\xef\xbb\xbf)?\s*[\[{]\s*[\"{}\]]")
"""The start of a JSON file."""

TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")
"""Text of whatever kind."""


def other_kind(head: bytes) -> Kind | None:
    """What a file is that is no checkpoint; None if it may be one."""
    return next((kind for kind in OTHERS if kind.test(head)), None)
