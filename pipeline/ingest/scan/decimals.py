"""Decimal numbers to the nearest float, exactly, in compiled code.

A number of up to 19 digits is an integer over a power of ten, and both fit 64 bits: below 2^53 one division rounds once
(Clinger 1990, the fast path); above, the quotient is taken in integers to 63 bits or more and rounded half to even,
what remains of the division deciding ties (the division is Knuth's algorithm D with two digits of 32 bits).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.words import load8, load64

if TYPE_CHECKING:
    import numpy.typing as npt

LARGEST_SCALE: Final = 19
_MOST_DIGITS = 19
_DOT, _DIGIT_ZERO, _DIGIT_NINE = 46, 48, 57
_TEN = np.uint64(10)
_EXACT = np.uint64(2**53)
_TOP = np.uint64(2**63)
_LOW_HALF = np.uint64(2**32 - 1)
_HALF_BASE = np.uint64(2**32)
_ZERO, _ONE, _32 = np.uint64(0), np.uint64(1), np.uint64(32)
_TEN_TO_8 = np.uint64(10**8)
_LOW_HALVES, _HIGH_HALVES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0xF0F0F0F0F0F0F0F0)
_THREES, _SIXES = np.uint64(0x3333333333333333), np.uint64(0x0606060606060606)
_POWERS = 10.0 ** np.arange(LARGEST_SCALE + 1)
_SHIFTS = np.array([64 - (10**scale).bit_length() for scale in range(LARGEST_SCALE + 1)], dtype=np.int64)
_NORMALISED = np.array(
    [10**scale << 64 - (10**scale).bit_length() for scale in range(LARGEST_SCALE + 1)], dtype=np.uint64
)


@kernel
def _are_digits(word: np.uint64) -> bool:
    """Whether all eight bytes are digits (simdjson: is_made_of_eight_digits_fast)."""
    return bool(word & _HIGH_HALVES | (word + _SIXES & _HIGH_HALVES) >> np.uint64(4) == _THREES)


@kernel
def _eight_digits(word: np.uint64) -> np.uint64:
    """The number that eight digits are, the first in the lowest byte: pairs, fours, all (simdjson)."""
    word = (word & _LOW_HALVES) * np.uint64(1 + (10 << 8)) >> np.uint64(8)
    word = (word & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(1 + (100 << 16)) >> np.uint64(16)
    return (word & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(1 + (10_000 << 32)) >> _32


@kernel
def read_decimal(text: npt.NDArray[np.uint8], at: int, end: int) -> tuple[np.uint64, int, int]:
    """Digits, and perhaps a dot and more digits, up to `end`: mantissa, digits behind the dot, the place after them.

    The place is -1 where no digit comes first, or more digits come than `to_nearest` takes.
    """
    mantissa, significant, scale, dot = _ZERO, 0, 0, -1
    begun = at
    while at < end:
        c = load8(text, at)
        if at + 8 <= end and significant <= _MOST_DIGITS - 8 and (significant > 0 or c != _DIGIT_ZERO):
            word = np.uint64(load64(text, at))
            if _are_digits(word):
                mantissa = mantissa * _TEN_TO_8 + _eight_digits(word)
                significant += 8
                scale += 8 * (dot >= 0)
                at += 8
                continue
        if _DIGIT_ZERO <= c <= _DIGIT_NINE:
            mantissa = mantissa * _TEN + np.uint64(c - _DIGIT_ZERO)
            # not told by the mantissa, which 2^64 takes back to zero
            significant += significant > 0 or c != _DIGIT_ZERO
            scale += dot >= 0
        elif c == _DOT and dot < 0 and at > begun:
            dot = at
        else:
            break
        at += 1
    if at == begun or significant > _MOST_DIGITS or scale > LARGEST_SCALE:
        return mantissa, scale, -1
    return mantissa, scale, at


@kernel
def to_nearest(mantissa: np.uint64, scale: int) -> float:
    """The float nearest to mantissa / 10^scale, 0 <= scale <= 19."""
    if mantissa < _EXACT:
        return float(float(mantissa) / _POWERS[scale])
    if scale == 0:
        return float(mantissa)
    shift = 0
    while mantissa < _TOP:
        mantissa <<= _ONE
        shift += 1
    # floor(mantissa * 2^63 / divisor), both with their top bits set: so between 2^62 and 2^64
    quotient, is_inexact = _divide(mantissa >> _ONE, (mantissa & _ONE) << np.uint64(63), _NORMALISED[scale])
    drop = np.uint64(11) if quotient >= _TOP else np.uint64(10)
    dropped = quotient & ((_ONE << drop) - _ONE)
    half = _ONE << (drop - _ONE)
    kept = quotient >> drop
    if dropped > half or (dropped == half and (is_inexact or kept & _ONE)):
        kept += _ONE
    return math.ldexp(float(kept), int(drop) - 63 + _SHIFTS[scale] - shift)


@kernel
def _divide(high: np.uint64, low: np.uint64, divisor: np.uint64) -> tuple[np.uint64, bool]:
    """floor((high * 2^64 + low) / divisor), and whether there is a remainder; high < divisor, its top bit set."""
    first, rest = _digit(high, low >> _32, divisor)
    second, rest = _digit(rest, low & _LOW_HALF, divisor)
    return (first << _32) + second, rest != _ZERO


@kernel
def _digit(rest: np.uint64, following: np.uint64, divisor: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Quotient (32 bits) and remainder of (rest * 2^32 + following) / divisor; rest < divisor."""
    top = divisor >> _32
    quotient = rest // top
    remainder = rest - quotient * top
    while quotient >= _HALF_BASE or quotient * (divisor & _LOW_HALF) > (remainder << _32) + following:
        quotient -= _ONE
        remainder += top
        if remainder >= _HALF_BASE:
            break
    return quotient, (rest << _32) + following - quotient * divisor
