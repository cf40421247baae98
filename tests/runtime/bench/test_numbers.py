"""Numbers as people write them."""

import pytest

from ovdeploy.runtime.bench.numbers import plain


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (11_410.2, 4, "11,410"),
        (1_234_567.8, 4, "1,234,568"),
        (114.12, 4, "114.1"),
        (99.996, 4, "100"),
        (1.41, 4, "1.41"),
        (0.01234, 3, "0.0123"),
        (0.5, 4, "0.5"),
        (0, 3, "0"),
        (-2.5, 3, "-2.5"),
        (1e-9, 3, "0"),
        (float("inf"), 3, "inf"),
    ],
)
def test_a_number_has_no_exponent(value, digits, text):
    assert plain(value, digits) == text
