"""Every public function with a vile value for each argument, and every file format with vile contents.

It works, or an `OvdeployError` comes, in 5 s and 2 GB. The whole is tests/measure/vile.py; here is a part, with a fixed
seed.
"""

from __future__ import annotations

import pytest

from support.vile.trial import gone, tried, unexpected

SHARES, COUNT = 4, 2400


@pytest.mark.parametrize("part", range(SHARES))
def test_what_is_vile_works_or_is_an_error_of_ours(complete_bundle, micro_video_bundle, part):
    outcomes = list(tried(complete_bundle, micro_video_bundle, share=f"{part}/{SHARES}", count=COUNT))
    assert len(outcomes) > COUNT // SHARES // 2
    bad = [f"{found['outcome']}: {found['name']}: {found['told']}" for found in unexpected(outcomes)]
    assert not bad, "\n".join(bad)
    refused = [found["name"] for found in outcomes if found["name"].endswith("(good)") and found["outcome"] != "ok"]
    assert not refused, "good arguments must be taken"
    assert not gone(outcomes), "these no longer fail; take them out of tests/support/vile/known.txt"
