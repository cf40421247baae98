"""How long it takes to list photos and to name their results, and how much memory. No test: it measures.

    python tests/measure/listing.py [--files 16000 1000000] [--resume]

Makes trees of empty files, a thousand a folder, and for each runs a process of its own that lists the tree as `segment`
does, names the results, and (with --resume) looks up every photo in a record in which all are done. Prints seconds of
CPU for each step, and the peak of memory so far, imports included.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

A_FOLDER = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[16_000, 1_000_000])
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.of:
        measure(Path(given.of), given.resume)
        return
    with tempfile.TemporaryDirectory() as folder:
        for count in given.files:
            tree = made(Path(folder) / str(count), count)
            again = [sys.executable, __file__, "--of", str(tree), *(["--resume"] if given.resume else [])]
            subprocess.run(again, check=True)


def made(tree: Path, count: int) -> Path:
    for index in range(count):
        if index % A_FOLDER == 0:
            folder = tree / f"{index // A_FOLDER:04}"
            folder.mkdir(parents=True)
        (folder / f"IMG_{index:08}.jpg").touch()
    return tree


def measure(tree: Path, resume: bool) -> None:
    from ovdeploy.runtime.cli.tasks import reserved_endings
    from ovdeploy.runtime.photo.listing import Listing
    from ovdeploy.runtime.photo.naming import result_names
    from ovdeploy.runtime.photo.sources import sources

    told("imports", 0, 0.0)
    start = time.process_time()
    photos = Listing(sources([str(tree)]))
    told("listed", len(photos), start)
    start = time.process_time()
    count = sum(1 for _ in result_names(photos, reserved_endings()))
    told("named", count, start)
    if resume:
        look_up(photos, tree.parent / f"{tree.name}.out")


def look_up(photos: object, out: Path) -> None:
    """Every photo in a record in which all are done; results are not asked for: there would be millions."""
    from ovdeploy.runtime.cli.record import Record
    from ovdeploy.runtime.cli.tasks import pending

    start = time.process_time()
    with Record(out, {"words": "a"}) as record:
        for task in pending(photos, record, (), allow_urls=False, skipped=lambda task: None):  # type: ignore[arg-type]
            task.photo.look()
            record.add(task.name, task.photo, ())
    told("recorded", len(photos), start)  # type: ignore[arg-type]
    start = time.process_time()
    with Record(out, {"words": "a"}) as record:
        told("record read", len(record), start)
        left = list(pending(photos, record, (), allow_urls=False, skipped=lambda task: None))  # type: ignore[arg-type]
    told("looked up", len(photos) - len(left), start)  # type: ignore[arg-type]


def told(what: str, count: int, start: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what:12} {count:9,}  {time.process_time() - start:6.2f} s of CPU, peak {peak:5.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
