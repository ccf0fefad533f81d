"""The value of a field in the line protocol: numbers, integers with their suffix, and truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.decimals import read_decimal, to_nearest

if TYPE_CHECKING:
    import numpy.typing as npt

_TAB, _NEWLINE, _RETURN, _BLANK, _QUOTE, _COMMA = 9, 10, 13, 32, 34, 44
_MINUS, _PLUS, _DOT = 45, 43, 46
_LOWER_I, _LOWER_U, _LOWER_T, _UPPER_T, _LOWER_F, _UPPER_F = 105, 117, 116, 84, 102, 70
_TRUE, _FALSE = np.frombuffer(b"true", dtype=np.uint8), np.frombuffer(b"false", dtype=np.uint8)
_LARGEST_INTEGER = np.uint64(2**63 - 1)


@kernel
def _word(text: npt.NDArray[np.uint8], at: int, word: npt.NDArray[np.uint8]) -> int:
    """Place after this word or its first letter alone; -1 where it is another."""
    for i in range(len(word)):
        if at + i >= len(text) or text[at + i] != word[i]:
            return at + 1 if i == 1 else -1
    return at + len(word)


@kernel
def _number(text: npt.NDArray[np.uint8], at: int) -> tuple[float, int]:
    """A float, or an integer with its suffix, and the place after it (-1 where it is of another form)."""
    negative = at < len(text) and text[at] == _MINUS
    if negative or (at < len(text) and text[at] == _PLUS):
        at += 1
    mantissa, scale, after = read_decimal(text, at, len(text))
    if after < 0:
        return 0.0, -1
    if after < len(text) and text[after] in (_LOWER_I, _LOWER_U):
        if (
            scale > 0
            or text[after - 1] == _DOT
            or mantissa > _LARGEST_INTEGER
            or (negative and text[after] == _LOWER_U)
        ):
            return 0.0, -1
        return float(-np.int64(mantissa) if negative else np.int64(mantissa)), after + 1
    value = to_nearest(mantissa, scale)
    return -value if negative else value, after


@kernel
def _value(text: npt.NDArray[np.uint8], at: int) -> tuple[float, int]:
    """A number or boolean, as `_number` gives it."""
    c = text[at] if at < len(text) else _NEWLINE
    if c == _LOWER_T:
        return 1.0, _word(text, at, _TRUE)
    if c == _LOWER_F:
        return 0.0, _word(text, at, _FALSE)
    if c in (_UPPER_T, _UPPER_F):
        return 1.0 if c == _UPPER_T else 0.0, at + 1
    return _number(text, at)


@kernel
def _is_after_value(text: npt.NDArray[np.uint8], at: int) -> bool:
    """Whether the value of a field may end before this place."""
    return at >= len(text) or text[at] in (_COMMA, _BLANK, _RETURN, _NEWLINE)


@kernel
def _token_end(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place after what stands for a value; -1 where nothing does, or what follows it may not."""
    begun = at
    while at < len(text) and text[at] not in (_COMMA, _QUOTE, _BLANK) and not _TAB <= text[at] <= _RETURN:
        at += 1
    return at if at > begun and _is_after_value(text, at) else -1


@kernel
def read_value(text: npt.NDArray[np.uint8], at: int) -> tuple[float, int, bool]:
    """The value at a place, the place after it, and whether it is odd: the decoder is to read it.

    The place is -1 where no value may be.
    """
    value, after = _value(text, at)
    if after >= 0 and _is_after_value(text, after):
        return value, after, False
    return 0.0, _token_end(text, at), True
