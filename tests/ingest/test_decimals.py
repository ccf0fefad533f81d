from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.ingest.scan.decimals import LARGEST_SCALE, read_decimal, to_nearest


def nearest(mantissa: int, scale: int) -> float:
    """By Python, whose conversion is exact."""
    return float(f"{mantissa}e-{scale}")


@settings(max_examples=2000, deadline=None)
@given(st.integers(0, 10**19 - 1), st.integers(0, LARGEST_SCALE))
@example(2**64 - 1, 19)
@example(2**53 + 1, 0)
def test_every_decimal_is_rounded_once(mantissa: int, scale: int) -> None:
    """What 64 bits hold comes out as the float nearest to it."""
    assert to_nearest(np.uint64(mantissa), scale) == nearest(mantissa, scale)


@settings(max_examples=2000, deadline=None)
@given(st.floats(1e-3, 1e17), st.integers(1, LARGEST_SCALE), st.integers(-1, 1))
def test_next_to_halfway_between_two_floats(value: float, scale: int, off: int) -> None:
    """Ties, and decimals one step away from them, are rounded as half to even has it."""
    halfway = (Fraction(value) + Fraction(float(np.nextafter(value, np.inf)))) / 2
    mantissa = int(halfway * 10**scale) + off
    if 0 <= mantissa < 2**64:
        assert to_nearest(np.uint64(mantissa), scale) == nearest(mantissa, scale)


@pytest.mark.parametrize(
    "text", ["98.99497487438142", "0.1", "62.5095466604667", "9007199254740993.0", "0.3000000000000000044"]
)
def test_numbers_as_programs_write_them(text: str) -> None:
    """The shortest spelling of a float comes back as that float."""
    whole, _, fraction = text.partition(".")
    assert to_nearest(np.uint64(int(whole + fraction)), len(fraction)) == float(text)


@pytest.mark.parametrize("text", [b"18446744073709551616", b"0036893488147419103232", b"12345678901234567890"])
def test_more_than_64_bits_are_refused(text: bytes) -> None:
    """Multiples of 2^64 too, which leave nothing in 64 bits."""
    _, _, place = read_decimal(np.frombuffer(text, dtype=np.uint8), 0, len(text))
    assert place == -1
