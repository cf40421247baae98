"""Vile values for every argument of every public function, and vile contents for every file format.

    python tests/measure/vile.py BUNDLE TRACKING [--jobs 2] [--count 21000] [--seed 17] [--output outcomes.jsonl]

BUNDLE is one of `export-engines micro --interactive`. Prints how many cases there were, what was found by kind and by
place, and the time. The exit code is 1 if an exception outside the tree came out, a call took longer than 5 s, or a
process grew by more than 2 GB or died. Tests try a part of it: tests/runtime/boundary/test_vile.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.vile.trial import FINE, gone, tried, unexpected


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="of 'micro' with all stages")
    parser.add_argument("tracking", type=Path, help="of 'sam2-video-micro'")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--count", type=int, default=21_000, help="drawn by chance from all, of which 71,000 are")
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    start = time.perf_counter()

    def share(part: int) -> list[dict]:
        shares = f"{part}/{given.jobs}"
        return list(
            tried(given.bundle.absolute(), given.tracking.absolute(), share=shares, count=given.count, seed=given.seed)
        )

    with ThreadPoolExecutor(given.jobs) as pool:
        outcomes = [found for part in pool.map(share, range(given.jobs)) for found in part]
    if given.output:
        given.output.write_text("".join(json.dumps(found) + "\n" for found in outcomes))
    kinds = Counter(found["outcome"] for found in outcomes)
    print(f"{len(outcomes)} cases in {time.perf_counter() - start:.0f} s: {dict(kinds.most_common())}")
    print(f"the slowest: {max(found['seconds'] for found in outcomes):.1f} s")
    places = Counter((found["outcome"], found["name"].partition(" =")[0][:60]) for found in outcomes
                     if found["outcome"] not in FINE)  # fmt: skip
    for (kind, place), count in places.most_common(60):
        print(f"{count:6} {kind:20} {place}")
    bad, vanished = unexpected(outcomes), gone(outcomes)
    for pattern in vanished:
        print(f"known.txt lists {pattern!r}, which no longer fails")
    print(f"{len(bad)} unexpected")
    sys.exit(1 if bad or vanished else 0)


if __name__ == "__main__":
    main()
