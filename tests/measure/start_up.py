"""CPU seconds until the commands answer, and of the first photos of a process.

    python tests/measure/start_up.py [--bundle BUNDLE] [--no-bytecode] [CHECKOUT …]

Each command runs in a process of its own, by turns over the checkouts (without one, over that of this file), and what
it takes is user and system time together, so that a busy machine hardly matters. Medians are told. With a bundle, a
photo is segmented four times in one process, and its reading told by itself: the first should take no longer for that
than the others; and seconds of the wall clock are told from the start of a process to its first mask, and for opening
the bundle, in ONNX Runtime and in OpenVINO, as a script on the Python API sees them. Without bytecode Python compiles
every module that it imports, as right after an installation.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
FOLDERS = ("runtime", "export", "calib", "engines")

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "import ovdeploy.runtime": ("-c", "import ovdeploy.runtime"),
    "ovdeploy --version": ("-c", "from ovdeploy.runtime.cli import main; main()", "--version"),
    "ovdeploy --help": ("-c", "from ovdeploy.runtime.cli import main; main()", "--help"),
    "ovdeploy segment --help": ("-c", "from ovdeploy.runtime.cli import main; main()", "segment", "--help"),
    "export-engines --version": ("-c", "from ovdeploy.export.commands import main; main()", "--version"),
    "export-engines --help": ("-c", "from ovdeploy.export.commands import main; main()", "--help"),
}
PHOTOS = """
import resource, sys
from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.photo.reading import demo_photo
def used(): return sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
with Segmenter.load(sys.argv[1]) as segmenter:
    words = segmenter.vocabulary(["cup", "table"])
    for _ in range(4):
        before = used()
        result = segmenter.segment(demo_photo(), words)
        print(used() - before, result.timings["decode"] / 1e3)
"""

SCRIPT = """
import sys, time
from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.photo.reading import demo_photo
start = time.perf_counter()
with Segmenter.load(sys.argv[1], backend=sys.argv[2]) as segmenter:
    loaded = time.perf_counter() - start
    segmenter.segment(demo_photo(), segmenter.vocabulary(["cup", "table"]))
    print(time.time() - float(sys.argv[3]), loaded)
"""


def environment(checkout: Path, links: Path, bytecode: bool) -> dict[str, str]:
    """A checkout under the package's name, whatever is installed."""
    package = links / checkout.name / "ovdeploy"
    package.mkdir(parents=True, exist_ok=True)
    for folder in FOLDERS:
        if not (package / folder).exists():
            (package / folder).symlink_to(checkout / folder)
    none = {} if bytecode else {"PYTHONPYCACHEPREFIX": str(links / "none"), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, "PYTHONPATH": str(package.parent), "OMP_NUM_THREADS": "1", **none}


def run(arguments: Sequence[str], environ: dict[str, str]) -> tuple[float, str]:
    """CPU seconds of a Python, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def medians(environs: Sequence[dict[str, str]], runs: int) -> None:
    """A line for each command: a column for each checkout."""
    for name, arguments in COMMANDS.items():
        rounds = [[run(arguments, environ)[0] for environ in environs] for _ in range(runs)]
        print(f"{name:26}", *(f"{statistics.median(column):7.3f} s" for column in zip(*rounds, strict=True)))


def photos(environs: Sequence[dict[str, str]], runs: int, bundle: str) -> None:
    """Two lines for each photo of a process, likewise."""
    rounds = [[run(("-c", PHOTOS, bundle), environ)[1].split() for environ in environs] for _ in range(runs)]
    for index in range(8):
        name = f"photo {index // 2 + 1}{', reading (wall)' if index % 2 else ''}"
        columns = zip(*rounds, strict=True)
        print(f"{name:26}", *(f"{statistics.median(float(told[index]) for told in c):7.3f} s" for c in columns))


def first_masks(environs: Sequence[dict[str, str]], runs: int, bundle: str) -> None:
    """Two lines a backend: seconds from a process's start to its first mask, and of opening; the first run warms up."""
    for backend in ("onnxruntime", "openvino"):
        rounds = [
            [run(("-c", SCRIPT, bundle, backend, str(time.time())), environ)[1].split() for environ in environs]
            for _ in range(runs + 1)
        ][1:]
        for index, what in enumerate(("first mask", "opening")):
            columns = zip(*rounds, strict=True)
            told = (f"{statistics.median(float(pair[index]) for pair in column):7.3f} s" for column in columns)
            print(f"{f'{what}, {backend} (wall)':26}", *told)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[HERE])
    parser.add_argument("--bundle", help="also segment photos with it")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--no-bytecode", action="store_true", help="compile every module that is imported")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as links:
        folders = [Path(links) / str(index) for index in range(len(given.checkouts))]
        pairs = zip(given.checkouts, folders, strict=True)
        where = [environment(path.resolve(), folder, not given.no_bytecode) for path, folder in pairs]
        medians(where, given.runs)
        if given.bundle:
            photos(where, given.runs, os.path.abspath(given.bundle))
            free = [{name: value for name, value in one.items() if name != "OMP_NUM_THREADS"} for one in where]
            first_masks(free, given.runs, os.path.abspath(given.bundle))
