"""Batches at length: kills, rates, a million photos listed. No test: it measures, on the models of `micro`.

    python tests/measure/batch.py kills --times 20       (SIGKILL at random moments; some 15 minutes on 2 quiet cores)
    python tests/measure/batch.py rate                   (two workers against one, and against `segment_many`)
    python tests/measure/batch.py list --files 1000000   (seconds and memory until the plan is there)
    python tests/measure/batch.py times --json FILE      (seconds a photo, for the simulation of `capacity.py`)

`kills` runs a batch undisturbed, then one that is killed with all its workers again and again until it has come to its
end, and compares the two tables byte by byte. After every kill it counts the shards that were begun and are not
there. `rate` alternates the ways and gives the medians of ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ovdeploy.runtime.scenes import draw_scene

CODE = "import sys; from ovdeploy.runtime.cli.batch import batch; batch(sys.argv[1:])"
WORDS = "cup, mug, table"
SCENES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "rate", "list", "times"])
    parser.add_argument("--bundle", type=Path, help="Made anew if it is not given.")
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", type=Path, help="Photos for `times`; drawn if they are not given.")
    parser.add_argument("--threads", type=int, default=1, help="For `times`.")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("OVDEPLOY_CACHE", str(Path(folder) / "cache"))
        globals()[f"measure_{given.what}"](Path(folder), given)


def bundle_in(folder: Path, given: argparse.Namespace) -> Path:
    if given.bundle:
        return Path(given.bundle).absolute()
    program = Path(sys.executable).parent / "export-engines"
    subprocess.run([program, "micro", "--output", folder / "micro"], check=True, capture_output=True)
    return folder / "micro"


def photos_in(folder: Path, count: int) -> Path:
    """Drawn scenes, each another one by its place; five in a hundred are broken."""
    drawn = [draw_scene(seed).photo for seed in range(SCENES)]
    folder.mkdir()
    for index in range(count):
        path = folder / f"{index:06}.png"
        if index % 20 == 19:
            path.write_bytes(b"no picture")
        else:
            Image.fromarray(np.roll(drawn[index % SCENES], index, axis=1)).save(path)
    return folder


def command(source: object, out: Path, bundle: Path, *more: object) -> list[str]:
    options = ["--bundle", bundle, "--classes", WORDS, "--threads", 1, *more]
    return [sys.executable, "-c", CODE, *(str(each) for each in (source, out, *options))]


def summary(words: list[str]) -> dict[str, Any]:
    done = subprocess.run([*words, "--json"], capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr[-3000:])
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def tables(out: Path) -> dict[str, bytes]:
    """The shards and their manifest, and whatever else lies there."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


VICTIMS = ("all", "the command", "a worker")
"""Who is killed, by chance. A worker's work goes on in another one; a command that is gone takes its workers along."""

IN_SHARDS = ("--shard-size", 10, "--workers", 2)


def measure_kills(folder: Path, given: argparse.Namespace) -> None:
    bundle, photos = bundle_in(folder, given), photos_in(folder / "photos", given.photos)
    start = time.monotonic()
    undisturbed = summary(command(photos, folder / "expected", bundle, *IN_SHARDS))
    seconds, rng = time.monotonic() - start, random.Random(given.seed)
    expected, words = tables(folder / "expected"), command(photos, folder / "out", bundle, *IN_SHARDS)
    print(f"undisturbed: {undisturbed['photos']} photos, {undisturbed['failed']} failed, {seconds:.1f} s", flush=True)
    kills, finished, same, redone, orphans = 0, 0, 0, 0, 0
    while kills < given.times:
        shutil.rmtree(folder / "out", ignore_errors=True)
        done = False
        while not done and kills < given.times:
            done, lost, left = killed([*words, "-v"], folder, rng.choice(VICTIMS), rng.uniform(0.1, 1.0) * seconds)
            kills, redone, orphans = kills + (not done), max(redone, lost), orphans + left
        summary(words)
        finished += 1
        same += tables(folder / "out") == expected
    print(f"{kills} kills over {finished} tables: {same} of {finished} tables the same, byte by byte")
    print(f"shards begun and not there after a kill: at most {redone}, with 2 workers; workers left alive: {orphans}")


def killed(words: list[str], folder: Path, victim: str, after: float) -> tuple[bool, int, int]:
    """Run and kill; whether it was done before, how many shards were begun in vain, how many workers lived on."""
    log = folder / "log.txt"
    with open(log, "wb") as told:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=told, start_new_session=True)
        try:
            process.wait(after)
            return True, 0, 0
        except subprocess.TimeoutExpired:
            workers = children(process.pid)
        if victim == "a worker" and workers:
            os.kill(workers[0], signal.SIGKILL)
            process.wait()
            return False, 0, 0
        kill = os.killpg if victim == "all" else os.kill
        kill(process.pid, signal.SIGKILL)
        process.wait()
    time.sleep(3)  # a worker ends at once when its parent is gone
    left = [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    begun = {int(number) for number in re.findall(r"shard (\d+) is given", log.read_text())}
    there = {int(path.stem.rpartition("-")[2]) for path in (folder / "out").glob("shard-*")}
    return False, len(begun - there), len(left)


def children(process: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def measure_rate(folder: Path, given: argparse.Namespace) -> None:
    """Photos a second from the opened engines on, as the summary tells them, and `segment_many`'s in a like process."""
    bundle, photos = bundle_in(folder, given), photos_in(folder / "photos", given.photos)
    shard = max(1, given.photos // 6)

    def batched(workers: int, at_once: int) -> float:
        out = Path(tempfile.mkdtemp(dir=folder)) / "out"
        more = ("--shard-size", shard, "--workers", workers, "--at-once", at_once)
        return float(summary(command(photos, out, bundle, *more))["photos_per_second"])

    ways: dict[str, Callable[[], float]] = {
        "one": lambda: batched(1, 1),
        "many 1": lambda: many(bundle, photos, 1),
        "two": lambda: batched(2, 1),
        "pair": lambda: batched(1, 2),
        "many 2": lambda: many(bundle, photos, 2),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(given.rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            rates[name].append(ways[name]())
        print({name: round(values[-1], 2) for name, values in rates.items()}, flush=True)
    pairs = {
        "two / one": ("two", "one"),
        "one / segment_many": ("one", "many 1"),
        "pair / segment_many": ("pair", "many 2"),
    }
    for name, (a, b) in pairs.items():
        print(f"{name}: {statistics.median(x / y for x, y in zip(rates[a], rates[b], strict=True)):.3f}")


MANY = """
import sys, time, cv2
from pathlib import Path
from ovdeploy.runtime import Segmenter
cv2.setNumThreads(1)
photos = sorted(Path(sys.argv[2]).iterdir())
with Segmenter.load(sys.argv[1], threads=1) as segmenter:
    words = segmenter.vocabulary(["cup", "mug", "table"])
    start = time.perf_counter()
    for result in segmenter.segment_many(photos, words, workers=int(sys.argv[3])):
        pass
    print(len(photos) / (time.perf_counter() - start))
"""


def many(bundle: Path, photos: Path, at_once: int) -> float:
    environment = {**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")}
    words = [sys.executable, "-c", MANY, str(bundle), str(photos), str(at_once)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def measure_list(folder: Path, given: argparse.Namespace) -> None:
    from ovdeploy.runtime.batch.plan import planned

    for index in range(given.files):
        if index % 1000 == 0:
            below = folder / "tree" / f"{index // 1000:05}"
            below.mkdir(parents=True)
        (below / f"IMG_{index:08}.jpg").touch()
    start, ran = time.monotonic(), time.process_time()
    plan = planned(str(folder / "tree"))
    last = plan[len(plan) - 1]
    seconds, ran = time.monotonic() - start, time.process_time() - ran
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{plan.photos:,} photos in {len(plan):,} shards, the last with {last.count}: "
        f"{seconds:.1f} s, {ran:.1f} s of CPU, peak {peak:.0f} MiB"
    )


def measure_times(folder: Path, given: argparse.Namespace) -> None:
    bundle, photos = bundle_in(folder, given), given.source or photos_in(folder / "photos", given.photos)
    told = summary(command(photos, folder / "out", bundle, "--at-once", 1, "--threads", given.threads))
    text = json.dumps(told, indent=1)
    print(text if given.json is None else f"{given.json.write_text(text)} bytes in {given.json}")


if __name__ == "__main__":
    main()
