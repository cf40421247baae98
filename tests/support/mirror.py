"""A mirror on the loopback: files of the hub and of releases, a log of what was asked, and connections that break."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.quiet import HOOK
from support.samples import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
"""Of every repository here."""

PIECE = 1 << 20


@dataclass
class Mirror:
    """Files by the path of their address, and what happens to them."""

    files: Mapping[str, Path]
    """`/timm/MODEL/resolve/main/model.safetensors` as the hub has it; `/HOST/PATH` for a release."""
    breaks: dict[str, int] = field(default_factory=dict)
    """How many times the connection ends in the middle of a file, by a part of its path."""
    log: list[str] = field(default_factory=list)
    """A line for each request: method, path, range, status, bytes sent, seconds since the start."""
    started: float = field(default_factory=time.monotonic)
    port: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that send both libraries here."""
        return {"HF_ENDPOINT": self.address, "OVDEPLOY_RELEASES": self.address}

    def elsewhere(self, folder: Path) -> list[str]:
        """What a process of `run_heard` asked of others than this mirror: look-ups and connections, a line each."""
        heard = (folder / "heard").read_text().splitlines()
        return [line for line in heard if f"'127.0.0.1', {self.port}" not in line]

    def broken(self, path: str) -> bool:
        """Whether this answer breaks off; counts down."""
        for part, left in self.breaks.items():
            if part in path and left > 0:
                self.breaks[part] = left - 1
                return True
        return False


@contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    """Serve a mirror from a thread, on a port that is free."""
    handler = type("Handler", (_Handler,), {"mirror": mirror})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        mirror.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield mirror
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def log_message(self, *arguments):
        pass

    def answer(self, with_body: bool) -> None:
        path = self.mirror.files.get(self.path.partition("?")[0])
        if path is None:
            return self.refuse(404)
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or size - 1)) if asked else (0, size - 1)
        if start >= size > 0:
            return self.refuse(416)
        status = 206 if asked else 200
        self.send_response(status)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(end - start + 1))
        self.send_header("ETag", f'"{digest_of(path)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        broken = with_body and self.mirror.broken(self.path)
        stop = start + (end + 1 - start) // 2 if broken else end + 1
        self.note(status, stop - start if with_body else 0)  # before the client can have the last byte
        if with_body:
            self.send(path, start, stop)
        self.close_connection = self.close_connection or broken
        return None

    def refuse(self, status: int) -> None:
        self.note(status, 0)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")  # the hub's
        self.end_headers()

    def send(self, path: Path, start: int, stop: int) -> None:
        with path.open("rb") as file:
            file.seek(start)
            left = stop - start
            while left > 0 and (piece := file.read(min(left, PIECE))):
                self.wfile.write(piece)
                left -= len(piece)

    def note(self, status: int, sent: int) -> None:
        when = time.monotonic() - self.mirror.started
        asked = self.headers.get("Range", "")
        self.mirror.log.append(f"{when:7.1f} s  {self.command:4} {self.path} {asked} -> {status}, {sent} bytes")


_digests: dict[Path, str] = {}


def digest_of(path: Path) -> str:
    """A file's SHA-256, computed once."""
    if path not in _digests:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(PIECE):
                digest.update(piece)
        _digests[path] = digest.hexdigest()
    return _digests[path]


def ground(path: Path, digits: str) -> int:
    """Make a zip archive's SHA-256 begin with some digits, by trying comments at its end; says how many were tried.

    The hash of all before is computed once, so six digits take 17 million short hashes on average: some 20 seconds.
    """
    content = path.read_bytes()
    before = hashlib.sha256(content[:-2] + b"\x08\x00")  # the last field: the comment's length
    bits, wanted = 8 * (len(digits) // 2), bytes.fromhex(digits)
    copy, size = before.copy, len(wanted)
    assert bits == 4 * len(digits), "an even number of digits"
    for number in range(1 << 34):
        comment = number.to_bytes(8, "little")
        trial = copy()
        trial.update(comment)
        if trial.digest()[:size] == wanted:
            path.write_bytes(content[:-2] + b"\x08\x00" + comment)
            _digests.pop(path, None)
            return number + 1
    raise AssertionError("no such comment")


def run_heard(code, folder, *arguments, **variables):
    """Run Python code in a folder, its caches there; what it connects to, or looks up, is written down in `heard`."""
    hooks = folder / "hooks"
    hooks.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text(HOOK)
    paths = [str(hooks), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        "HOME": str(folder),
        "HF_HOME": str(folder / "hub"),
        "TORCH_HOME": str(folder / "torch"),
        "PYTHONPATH": os.pathsep.join(paths),
        "HEARD": str(folder / "heard"),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
