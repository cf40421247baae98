from __future__ import annotations

import numpy as np
import pytest

from ovdeploy.export.reference.checks import limits_for
from ovdeploy.runtime.recipe.recipe import Tolerances


@pytest.mark.parametrize(("precision", "noise", "passes"), [
    ("int8", 0.15, True), ("int8", 0.4, False), ("fp16", 0.03, True), ("fp16", 0.15, False), ("fp32", 0.03, False),
])  # fmt: skip
def test_every_precision_has_its_own_tolerances(precision, noise, passes):
    expected = np.random.default_rng(0).standard_normal(1000)
    came = expected + noise * np.random.default_rng(1).standard_normal(1000)
    limits = limits_for(Tolerances(), precision)
    assert limits.check("dino", "features", came, expected).passed == passes
    assert limits.exact == (precision == "fp32")
