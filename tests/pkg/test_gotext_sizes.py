"""Numbers of bytes for people."""

from __future__ import annotations

import pytest

from quorate.pkg.gotext import si_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (9, "9 B"),
        (10, "10 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9949, "9.9 kB"),
        (9950, "10 kB"),
        (20_480, "20 kB"),
        (24_576, "25 kB"),
        (999_999, "1000 kB"),
        (2**31, "2.1 GB"),
        (2**63, "9.2 EB"),
    ],
)
def test_sizes_have_two_digits_and_a_unit(size: int, text: str) -> None:
    assert si_bytes(size) == text
