"""What a frame of a bundle of the pipeline `tracking` takes, by objects, and its memory over a long clip. No test.

    python tests/measure/tracking.py BUNDLE [--objects 1 4 16] [--joined 1] [--set prompt_batch=1] [--rounds 3]
    python tests/measure/tracking.py BUNDLE --long 2000

The first gives a row for each number of objects, measured in a process of its own: seconds of a frame in which every
object reads the six frames before and 15 pointers, its encoding included, calls of each engine with the objects of
each, and the process's peak. `--joined 4` has a quarter of the objects prompted on each of four frames. What is read is
copied from a first object and a second frame: what a call takes does not depend on values. The second follows four
objects through so many drawn frames, and tells the resident memory on the way; the exit code is 1 if it grows by more
than 2 % after the 200th.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

from ovdeploy.runtime import Tracker
from ovdeploy.runtime.bench.memory import own_memory
from ovdeploy.runtime.pipelines.tracking.memory import ObjectMemory
from ovdeploy.runtime.pipelines.tracking.stages import POINTER_FRAMES
from ovdeploy.runtime.scenes import FIRST_TEST_SEED, draw_clip

SETTLED = 200
"""Frames after which memory may not grow."""
GROWTH = 0.02
"""... by more than this share: allocators keep and give back what they like."""
ROWS = ("O", "R")
"""Names of the axis of objects."""
MB = 1e6


class Row(NamedTuple):
    """What frames with so many objects take."""

    objects: int
    wall: list[float]
    """Seconds of each frame."""
    cpu: list[float]
    calls: dict[str, list[int]]
    """Objects of each call in a frame, by stage."""
    memory: int
    """Peak, in bytes."""


def loaded(given: argparse.Namespace) -> Tracker:
    settings = {name: int(value) for name, value in (each.split("=") for each in given.set)}
    return Tracker.load(
        given.bundle, backend=given.backend, precision=given.precision, threads=given.threads, parameters=settings
    )


def crowd(tracker: Tracker, count: int, joined: int, frames: Any) -> int:
    """Objects with full memories, prompted on the first `joined` frames in turn; the index of the frame to come."""
    height, width = frames[0].shape[:2]
    tracker.prompt(frames[0], 1, points=[[width / 2, height / 2]])
    tracker.step(frames[0])
    tracker.step(frames[1])
    one = tracker._following.objects[1]
    prompted, tracked, behind = one.prompted[0], one.tracked[1], joined + POINTER_FRAMES
    for key in range(count):
        first = key % joined
        known = ObjectMemory({first: prompted}, dict.fromkeys(range(joined, behind), tracked))
        tracker._following.objects[key + 1] = known
    return behind


def measured(given: argparse.Namespace, count: int) -> Row:
    """Some frames with so many objects."""
    frames = draw_clip(FIRST_TEST_SEED, given.rounds + 3).frames
    wall, cpu = [], []
    with loaded(given) as tracker:
        at = crowd(tracker, count, min(given.joined, count), frames)
        for frame in frames[2:]:
            calls = heard(tracker)
            begun = time.perf_counter(), time.process_time()
            tracker.step(frame, index=at)
            wall.append(time.perf_counter() - begun[0])
            cpu.append(time.process_time() - begun[1])
            at += 1
    return Row(count, wall[1:], cpu[1:], calls, own_memory().peak)


def heard(tracker: Tracker) -> dict[str, list[int]]:
    """Gets the objects of every call from here on, by stage."""
    calls: dict[str, list[int]] = {stage: [] for stage in tracker._sessions}
    for stage, session in tracker._sessions.items():
        counts = calls[stage]
        session.listener = lambda sizes, counts=counts: counts.append(next((sizes[n] for n in ROWS if n in sizes), 1))
    return calls


def told(row: Row) -> str:
    times = [f"{statistics.median(times):.3g} ({min(times):.3g} to {max(times):.3g})" for times in (row.wall, row.cpu)]
    calls = ", ".join(f"{stage} {'+'.join(map(str, counts))}" for stage, counts in row.calls.items())
    return f"| {row.objects} | {times[0]} | {times[1]} | {row.memory / MB:.0f} | {calls} |"


def by_objects(given: argparse.Namespace) -> None:
    print("| objects | seconds a frame | CPU seconds | peak, MB | objects of each call |\n" + "| --- " * 5 + "|")
    spawn = multiprocessing.get_context("spawn")  # so that each has a peak of its own
    for count in given.objects:
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            print(told(pool.submit(measured, given, count).result()), flush=True)


def long(given: argparse.Namespace) -> bool:
    """Whether memory stays flat; drawn frames go back and forth."""
    frames = draw_clip(FIRST_TEST_SEED, 40).frames
    height, width = frames[0].shape[:2]
    settled = 0
    with loaded(given) as tracker:
        for key, (x, y) in enumerate(((0.3, 0.3), (0.7, 0.3), (0.3, 0.7), (0.7, 0.7))):
            tracker.prompt(frames[0], key + 1, points=[[x * width, y * height]])
        for t in range(given.long):
            round_, place = divmod(t, len(frames) - 1)
            tracker.step(frames[place if round_ % 2 == 0 else len(frames) - 1 - place])
            now = own_memory().resident
            settled = now if t == SETTLED else settled
            if t in (20, SETTLED) or (t + 1) % 500 == 0 or t + 1 == given.long:
                print(f"frame {t + 1}: {now / MB:.1f} MB resident, {time.process_time():.0f} CPU seconds", flush=True)
    return now <= settled * (1 + GROWTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--joined", type=int, default=1, help="frames on which they are prompted in turn")
    parser.add_argument("--rounds", type=int, default=3, help="frames that count; one before does not")
    parser.add_argument("--long", type=int, metavar="FRAMES")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=INTEGER")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.long:
        sys.exit(not long(given))
    by_objects(given)


if __name__ == "__main__":
    main()
