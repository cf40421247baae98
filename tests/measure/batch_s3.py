"""Batches of photos in S3, some of whose requests fail. No test: it measures, in the environment of test-clusters.

    make test-clusters
    .venv-clusters/bin/python tests/measure/batch_s3.py BUNDLE [--photos 500] [--share 0.1]

Moto serves photos, five in a hundred of them broken, and lets a share of requests fail; two workers do them. Prints how
many requests failed, and whether all photos are in the table, and the broken ones alone with an error.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from ovdeploy.runtime.batch.table import Table
from support.batches import encoded
from support.clusters import call
from support.flaky_s3 import environment, flaky_s3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.1)
    given = parser.parse_args()
    drawn = [encoded(seed) for seed in range(20)]
    objects = {f"photos/{n:06}.png": b"no picture" if n % 20 == 19 else drawn[n % 20] for n in range(given.photos)}
    broken = [f"s3://bucket/{key}" for key, content in objects.items() if content == b"no picture"]
    with tempfile.TemporaryDirectory() as folder, flaky_s3("bucket", objects) as (address, faults):
        os.environ.update(environment(address))
        faults.share, faults.asked = given.share, 0
        start = time.monotonic()
        told = call(given.bundle, "s3://bucket/photos", Path(folder) / "out", "--workers", 2, "--shard-size", 50,
                    code=1 if broken else 0)  # fmt: skip
        rows = Table(Path(folder) / "out", ("mask",)).read().to_pylist()
        names, failed = [row["name"] for row in rows], [row["name"] for row in rows if row["error"]]
        seconds, expected = time.monotonic() - start, [f"s3://bucket/{key}" for key in objects]
        print(f"{faults.failed} of {faults.asked} requests failed; {told['photos']} photos in {seconds:.0f} s")
        print(f"all are there, once and in order: {names == expected}")
        print(f"errors: {len(failed)}, those of the {len(broken)} broken ones: {failed == broken}")


if __name__ == "__main__":
    main()
