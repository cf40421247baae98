"""What 10⁹ photos take on 1,000 workers that fail and straggle. No test: it simulates, on times that were measured.

    python tests/measure/batch.py times --json times.json
    python tests/measure/capacity.py times.json [--scale 1.0] [--shards 60 250 1000]

Prints the tables of docs/scale.md, and the price beside: hours, lost work and tail by the photos of a shard, by
failures, and by stragglers, with and without copies of the last shards. `--scale` multiplies the measured seconds,
where another recipe or machine takes so many times longer: its mean by `ovdeploy bench`, divided by the measured mean.
`--price` is what a worker costs an hour; it is yours to fill in.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.capacity import Fleet, Load, measured, simulated

FAILURES = (0.0, 0.01, 0.1, 1.0)
"""Of a worker an hour: never, one in four days, one in ten hours (spot machines), one an hour."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", type=Path)
    parser.add_argument("--photos", type=int, default=10**9)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--price", type=float, default=0.05)
    parser.add_argument("--slow-share", type=float, default=0.02)
    parser.add_argument("--slow-factor", type=float, default=3.0)
    parser.add_argument("--shards", type=int, nargs="+", default=[250, 1_000, 10_000])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    times = json.loads(given.times.read_text())["times"]
    seconds = measured(times["edges"], times["counts"]) * given.scale
    print(f"{len(seconds)} measured photos: mean {seconds.mean():.3f} s, p50 {np.median(seconds):.3f}, "
          f"p99 {np.quantile(seconds, 0.99):.3f}; {given.photos:,} photos on {given.workers} workers")  # fmt: skip
    by_shard(given, seconds)
    by_failures(given, seconds)


COLUMNS = ("photos a shard", "minutes", "losses of a worker an hour", "stragglers", "copies", "hours", "efficiency",
           "lost", "tail, minutes", "price")  # fmt: skip


def by_shard(given: argparse.Namespace, seconds: np.ndarray) -> None:
    print(f"| {' | '.join(COLUMNS)} |\n" + "| ---: " * len(COLUMNS) + "|")
    for shard in given.shards:
        for copies in (False, True):
            print(line(given, seconds, shard, 0.1, given.slow_share, copies), flush=True)


def by_failures(given: argparse.Namespace, seconds: np.ndarray) -> None:
    for failures in FAILURES:
        for shard in given.shards:
            print(line(given, seconds, shard, failures, 0.0, False), flush=True)


def line(given: argparse.Namespace, seconds: np.ndarray, shard: int, failures: float, slow: float, copies: bool) -> str:
    fleet = Fleet(workers=given.workers, failures_per_hour=failures, slow_share=slow, slow_factor=given.slow_factor,
                  copies=copies)  # fmt: skip
    found = simulated(Load(photos=given.photos, shard=shard, seconds=seconds), fleet, given.seed)
    hours = found.end * given.workers
    minutes = shard * seconds.mean() / 60
    told = (f"{shard:,}", f"{minutes:.{1 if minutes < 10 else 0}f}", f"{failures:g}", f"{slow:.0%}",
            "yes" if copies else "no", f"{found.end:.1f}",
            f"{found.efficiency:.1%}", f"{found.lost / hours:.2%}", f"{found.tail * 60:.1f}",
            f"{hours * given.price:,.0f}")  # fmt: skip
    return f"| {' | '.join(told)} |"


if __name__ == "__main__":
    main()
