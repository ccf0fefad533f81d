"""The commonest message: one JSON sample.

    {"name": "…", "labels": {…}, "ts": 1767225600000, "value": 17.5}

Other keys, escapes, other time units, exponents and numbers of more than 19 digits are left to the decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.decimals import read_decimal, to_nearest
from pipeline.ingest.scan.known import JSON_SAMPLE, find_in, number_of
from pipeline.ingest.scan.rows import bits_of, message_at
from pipeline.ingest.scan.words import load8, load64, lowest

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.ingest.scan.known import Arrays
    from pipeline.ingest.scan.rows import Rows

_QUOTE, _COLON, _COMMA, _OPEN, _CLOSE, _BACKSLASH = 34, 58, 44, 123, 125, 92
_BRACKET, _MINUS, _DOT, _ZERO = 91, 45, 46, 48
_LOWER_E, _UPPER_E = 101, 69
_BLANK = 32
_ONES, _TOPS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES, _SPACES = _ONES * np.uint64(_QUOTE), _ONES * np.uint64(_BACKSLASH), _ONES * np.uint64(_BLANK)
_NAME, _LABELS, _TS, _VALUE, _UNKNOWN = 1, 2, 4, 8, 0
_ALL = _NAME | _LABELS | _TS | _VALUE
_TS_KEY, _NAME_KEY, _VALUE_KEY, _LABELS_KEY = (
    np.uint64(int.from_bytes(key, "little")) for key in (b'"ts":', b'"name":', b'"value":', b'"labels"')
)
_FIRST_5, _FIRST_7, _LONGEST_KEY = np.uint64(2**40 - 1), np.uint64(2**56 - 1), len(b'"labels":')
_MILLIS_FROM, _MILLIS_BELOW = 10**11, 10**14


@kernel
def _skip_space(text: npt.NDArray[np.uint8], at: int, end: int) -> int:
    while at < end and (
        load8(text, at) == 32 or load8(text, at) == 10 or load8(text, at) == 13 or load8(text, at) == 9
    ):
        at += 1
    return at


@kernel
def _string_end(text: npt.NDArray[np.uint8], at: int, end: int) -> int:
    """Position of the closing quote of the text that begins at `at`; -1 for escapes and control characters."""
    while at + 8 <= end:
        # The lowest mark is right; above it a borrow may have made others.
        word = np.uint64(load64(text, at))
        quotes, escapes = word ^ _QUOTES, word ^ _BACKSLASHES
        marks = ((quotes - _ONES) & ~quotes | (escapes - _ONES) & ~escapes | (word - _SPACES) & ~word) & _TOPS
        if marks != np.uint64(0):
            at += lowest(marks)
            return at if load8(text, at) == _QUOTE else -1
        at += 8
    while at < end:
        c = load8(text, at)
        if c == _QUOTE:
            return at
        if c == _BACKSLASH or c < _BLANK:
            return -1
        at += 1
    return -1


@kernel
def _object_end(text: npt.NDArray[np.uint8], at: int, end: int) -> int:
    """Position after the closing brace of a flat object that begins at `at`; -1 for anything nested."""
    at += 1
    while at < end:
        c = load8(text, at)
        if c == _QUOTE:
            at = _string_end(text, at + 1, end)
            if at < 0:
                return -1
        elif c == _CLOSE:
            return at + 1
        elif c in (_OPEN, _BRACKET):
            return -1
        at += 1
    return -1


@kernel
def _key(text: npt.NDArray[np.uint8], at: int, end: int) -> int:
    """Which key these bytes are."""
    size = end - at
    if size == 2 and text[at] == 116 and text[at + 1] == 115:
        return _TS
    if size == 4 and text[at] == 110 and text[at + 1] == 97 and text[at + 2] == 109 and text[at + 3] == 101:
        return _NAME
    if size == 5 and text[at] == 118 and text[at + 1] == 97 and text[at + 2] == 108 and text[at + 3] == 117:
        return _VALUE if text[at + 4] == 101 else _UNKNOWN
    if size == 6 and text[at] == 108 and text[at + 1] == 97 and text[at + 2] == 98 and text[at + 3] == 101:
        return _LABELS if text[at + 4] == 108 and text[at + 5] == 115 else _UNKNOWN
    return _UNKNOWN


@kernel
def _number(text: npt.NDArray[np.uint8], at: int, end: int, out: npt.NDArray[np.float64]) -> int:
    """Read a JSON number into out[0]; the position after it, -1 where it has an exponent or more than 19 digits.

    out[1] is 1 where it was a plain integer.
    """
    negative = load8(text, at) == _MINUS
    if negative:
        at += 1
    mantissa, scale, after = read_decimal(text, at, end)
    if after < 0 or load8(text, after - 1) == _DOT:
        return -1
    if load8(text, at) == _ZERO and after > at + 1 and load8(text, at + 1) != _DOT:
        return -1
    if after < end and load8(text, after) in (_LOWER_E, _UPPER_E):
        return -1
    value = to_nearest(mantissa, scale)
    # An integer has no negative zero.
    out[0] = -value if negative and not (value == 0 and scale == 0) else value
    out[1] = 1.0 if scale == 0 else 0.0
    return after


@kernel
def _compact_key(text: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Which key is here, as most programs write it, without white space; and its size."""
    if at + _LONGEST_KEY >= end:
        return _UNKNOWN, 0
    word = np.uint64(load64(text, at))
    if word & _FIRST_5 == _TS_KEY:
        return _TS, 5
    if word & _FIRST_7 == _NAME_KEY:
        return _NAME, 7
    if word == _VALUE_KEY:
        return _VALUE, 8
    if word == _LABELS_KEY and load8(text, at + 8) == _COLON:
        return _LABELS, 9
    return _UNKNOWN, 0


@kernel
def _read_key(text: npt.NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Read `"key":`; which key it is, and where its value begins."""
    key, size = _compact_key(text, at, end)
    if key != _UNKNOWN:
        return key, _skip_space(text, at + size, end)
    at = _skip_space(text, at, end)
    if at >= end or text[at] != _QUOTE:
        return _UNKNOWN, at
    closing = _string_end(text, at + 1, end)
    if closing < 0:
        return _UNKNOWN, at
    colon = _skip_space(text, closing + 1, end)
    if colon >= end or text[colon] != _COLON:
        return _UNKNOWN, at
    return _key(text, at + 1, closing), _skip_space(text, colon + 1, end)


@kernel
def _read_value(
    text: npt.NDArray[np.uint8],
    at: int,
    end: int,
    key: int,
    spans: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.float64],
) -> int:
    """Read the value of a key; the position after it, -1 where it is of another form."""
    if key == _NAME:
        spans[0] = at + 1
        spans[1] = _string_end(text, at + 1, end) if text[at] == _QUOTE else -1
        return int(spans[1] + 1 if spans[1] > 0 else -1)
    if key == _LABELS:
        spans[2] = at
        spans[3] = _object_end(text, at, end) if text[at] == _OPEN else -1
        return int(spans[3])
    after = _number(text, at, end, numbers)
    if key == _VALUE:
        numbers[3] = numbers[0]
        return after
    numbers[2] = numbers[0]
    return after if numbers[1] == 1.0 and _MILLIS_FROM <= numbers[0] < _MILLIS_BELOW else -1


@kernel
def _read(
    text: npt.NDArray[np.uint8],
    at: int,
    end: int,
    spans: npt.NDArray[np.int64],
    numbers: npt.NDArray[np.float64],
) -> bool:
    """Read one message: spans of name and labels, numbers[2] = ts, [3] = value; False where it is of another form."""
    at = _skip_space(text, at, end)
    seen = 0
    while at < end and text[at] == (_OPEN if seen == 0 else _COMMA):
        key, at = _read_key(text, at + 1, end)
        if key == _UNKNOWN or seen & key or at >= end:
            return False
        seen |= key
        at = _read_value(text, at, end, key, spans, numbers)
        if at < 0:
            return False
        at = _skip_space(text, at, end)
    return seen == _ALL and at < end and text[at] == _CLOSE and _skip_space(text, at + 1, end) == end


@kernel
def scan_samples(
    text: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
    known: Arrays,
    rows: Rows,
    results: npt.NDArray[np.int64],
) -> None:
    """Take messages of one sample; what is given as in `pipeline.ingest.scan.rows`."""
    # Where a message is one sample, handing tuples of arrays on would cost as much as reading it.
    spans, numbers, found = rows.spans, rows.numbers, rows.found
    arena, slots, entry = known.arena, known.slots, known.entry
    used = 0
    for i in range(len(places)):
        message = message_at(places, i)
        if _read(text, message.start, message.end, spans, numbers):
            key = number_of(JSON_SAMPLE, message.is_keyed)
            series = find_in(arena, slots, entry, key, text, (spans[0], spans[1], spans[2], spans[3]))
            ts = int(numbers[2])
            if series >= 0 and message.earliest <= ts <= message.latest:
                found[0, used], found[1, used], found[2, used] = series, ts, bits_of(numbers[3])
                used += 1
                results[i, 1] = 1
        results[i, 0] = used
    rows.used[0] = used
