"""A process that may not speak to the network: what tries is told, or ends it.

Two nets, for neither holds everything. Python code, in the process and in all processes that it starts, is heard by an
audit hook, which writes every look-up and connection into a file. Native code never reaches that hook: there a filter
of the kernel (seccomp, inherited by threads and children) ends a process that asks for an IPv4 or IPv6 socket, with
SIGSYS. Not covered: native code in a grandchild whose death its parent keeps to itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HOOK = """
import os, sys

def _heard(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"):
        if not (event == "socket.connect" and isinstance(arguments[1], (str, bytes))):  # a path: local
            with open(os.environ["HEARD"], "a") as file:
                file.write(f"{os.getpid()} {event} {arguments[-1] if event == 'socket.connect' else arguments}\\n")

sys.addaudithook(_heard)
"""

FILTER = '''
import ctypes, platform, struct

def _no_sockets():
    """End the process when it asks for a socket of AF_INET (2) or AF_INET6 (10)."""
    architecture, call = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}[platform.machine()]
    step = lambda code, yes, no, value: struct.pack("HBBI", code, yes, no, value)
    load, equal, end = 0x20, 0x15, 0x06
    steps = (step(load, 0, 0, 4), step(equal, 0, 5, architecture), step(load, 0, 0, 0), step(equal, 0, 3, call),
             step(load, 0, 0, 16), step(equal, 2, 0, 2), step(equal, 1, 0, 10),
             step(end, 0, 0, 0x7FFF0000), step(end, 0, 0, 0x80000000))
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(b"".join(steps))
    program = Program(len(steps), ctypes.cast(room, ctypes.c_void_p))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program)) == 0, ctypes.get_errno()

_no_sockets()
'''

SIGSYS = 31


class Quiet(NamedTuple):
    """How a process ended, and what it left."""

    code: int
    told: str
    heard: str
    """Look-ups and connections of Python code, a line each."""
    home: list[str]
    """Files that it left in the home folder, relative to it."""


def run_quietly(code: str, folder: Path, *arguments: str, **variables: str) -> Quiet:
    """Run Python code where it may not open a connection, with a home folder of its own.

    Args:
        code: the code; `sys.argv[1:]` are the arguments.
        folder: an empty one, for home, hook and cache; it is the current directory.
        arguments: of the code.
        variables: of the environment, beside ours.
    """
    home, hooks, heard = folder / "home", folder / "hooks", folder / "heard"
    for made in (home, hooks):
        made.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text(HOOK + FILTER)
    plain = {name: value for name, value in os.environ.items() if name not in UNSET}
    paths = [str(hooks), *([plain["PYTHONPATH"]] if plain.get("PYTHONPATH") else [])]
    environment = {
        **plain, "HOME": str(home), "PYTHONPATH": os.pathsep.join(paths), "HEARD": str(heard), **variables
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())
    return Quiet(done.returncode, done.stdout + done.stderr, heard.read_text() if heard.exists() else "", left)


UNSET = (
    *("CI", "GITHUB_ACTIONS", "TF_BUILD", "JENKINS_URL", "XDG_CACHE_HOME", "OVDEPLOY_TELEMETRY"),
    *("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"),
)
"""Variables in which libraries keep quiet by themselves, or by which our own process told its children to."""
