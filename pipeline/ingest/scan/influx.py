"""A compiled reader of the line protocol, for lines whose series are all known.

It finds the fields, values and time of a line and looks each series up by the very bytes of measurement and tags, and
of the field's name. A line with anything else in it (a series not met before, an exponent, a text with an escape, a
comment) it leaves to the general decoder, and goes on behind it: a property test holds both to the same answer on
arbitrary messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.decimals import read_decimal, to_nearest
from pipeline.ingest.scan.known import INFLUX_FIELD, INFLUX_LINE, find_in, is_same, number_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.ingest.points import Context
    from pipeline.ingest.scan.known import Arrays

_NEWLINE, _RETURN, _BLANK, _QUOTE, _COMMA, _EQUALS, _BACKSLASH = 10, 13, 32, 34, 44, 61, 92
_SERIES, _TS, _VALUE = range(3)
_MINUS, _PLUS, _DOT = 45, 43, 46
_LOWER_I, _LOWER_U, _LOWER_T, _UPPER_T, _LOWER_F, _UPPER_F = 105, 117, 116, 84, 102, 70
_TRUE, _FALSE = np.frombuffer(b"true", dtype=np.uint8), np.frombuffer(b"false", dtype=np.uint8)
_SECONDS_BELOW, _MILLIS_BELOW, _MICROS_BELOW = np.uint64(10**11), np.uint64(10**14), np.uint64(10**17)
_LARGEST_INTEGER = np.uint64(2**63 - 1)
# A field and what divides it from the next take four bytes at least.
_SHORTEST_FIELD = 4


class Columns(NamedTuple):
    """Samples. series int64[n], ts int64[n] ms, value float64[n]."""

    series: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


class Bounds(NamedTuple):
    """Times of a message, ms: its own, and between which its samples may lie."""

    arrived: int
    earliest: int
    latest: int


class LineScanner:
    """Reads one message, from where it is told."""

    def __init__(self, payload: bytes, context: Context) -> None:
        self._text = np.frombuffer(payload, dtype=np.uint8)
        self._known = context.catalog.known
        # The key may name the service, so the same line under another one is of other series.
        self._key = self._known.key_part(context.key)
        self._bounds = Bounds(context.arrived, *context.window)
        room = min(payload.count(b"="), len(payload) // _SHORTEST_FIELD + 1)
        self._found = np.empty((3, room))

    def learn(self, prefix: bytes, series: Sequence[tuple[bytes, int]]) -> None:
        """Know the series of these fields of lines that begin with this measurement and these tags."""
        line = self._known.learn_layout(number_of(INFLUX_LINE, self._key), prefix, b"", series)
        for field, index in series:
            self._known.learn(number_of(INFLUX_FIELD, line), field, b"", index)

    def scan(self, at: int) -> tuple[Columns, int]:
        """Samples of the lines from this place on, up to one that is not for here, and that line's place."""
        n, end = _scan(self._text, at, self._key, self._bounds, self._known.arrays, self._found)
        series, ts, value = self._found[:, :n]
        return Columns(series.astype(np.int64), ts.astype(np.int64), value.copy()), end


@kernel
def _next(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place of the next character of a measurement or a field's name: a backslash and what follows are one."""
    if text[at] == _BACKSLASH and at + 1 < len(text) and text[at + 1] != _NEWLINE:
        return at + 2
    return at + 1


@kernel
def _prefix_end(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place of the blank behind measurement and tags; that of the line break where there is none."""
    while at < len(text) and text[at] not in (_NEWLINE, _BLANK, _COMMA):
        at = _next(text, at)
    if at >= len(text) or text[at] != _COMMA:
        return at
    while at < len(text) and text[at] != _NEWLINE:
        if text[at] == _BLANK and text[at - 1] != _BACKSLASH:
            return at
        at += 1
    return at


@kernel
def _name_end(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place of the equals sign behind a field's name; -1 where there is none, or no name."""
    begun = at
    while at < len(text) and text[at] != _NEWLINE:
        c = text[at]
        if c in (_EQUALS, _COMMA, _BLANK):
            return at if c == _EQUALS and at > begun else -1
        at = _next(text, at)
    return -1


@kernel
def _text_end(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place after the closing quote of a text; -1 where it has an escape or a line break."""
    while at < len(text):
        c = text[at]
        if c == _QUOTE:
            return at + 1
        if c in (_BACKSLASH, _NEWLINE):
            return -1
        at += 1
    return -1


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
def _line_end(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place after the blanks and the line break that end a line; -1 where anything else is there."""
    while at < len(text) and text[at] == _BLANK:
        at += 1
    if at < len(text) and text[at] == _RETURN:
        at += 1
    if at >= len(text):
        return at
    return at + 1 if text[at] == _NEWLINE else -1


@kernel
def _to_millis(number: np.uint64) -> int:
    """A time whose unit its magnitude tells, as `pipeline.ingest.timestamps` has it."""
    if number < _SECONDS_BELOW:
        return int(number * np.uint64(1000))
    if number < _MILLIS_BELOW:
        return int(number)
    if number < _MICROS_BELOW:
        return int(number // np.uint64(1000))
    return int(number // np.uint64(1_000_000))


@kernel
def _time(text: npt.NDArray[np.uint8], at: int, bounds: Bounds) -> tuple[int, int]:
    """Time of a line in ms from behind its fields on, and the place after the line; -1 where it is not for here."""
    end = _line_end(text, at)
    if end >= 0:
        return bounds.arrived, end
    while at < len(text) and text[at] == _BLANK:
        at += 1
    number, scale, after = read_decimal(text, at, len(text))
    if after < 0 or scale > 0 or text[after - 1] == _DOT:
        return 0, -1
    ts = _to_millis(number)
    return ts, _line_end(text, after) if bounds.earliest <= ts <= bounds.latest else -1


@kernel
def _fields(
    text: npt.NDArray[np.uint8], at: int, line: int, known: Arrays, found: npt.NDArray[np.float64], n: int
) -> tuple[int, int]:
    """Samples of the fields of a known line (its layout's place) from column `n` on, still without their time.

    Columns in use and the place after the fields, -1 where a field is not for here.
    """
    arena, digest, entry, blocks = known.arena, known.digest, known.entry, known.blocks
    expected, last = line + 2, line + 2 + 3 * blocks[line + 1]
    while True:
        name_end = _name_end(text, at)
        if name_end < 0:
            return n, -1
        if name_end + 1 < len(text) and text[name_end + 1] == _QUOTE:
            after = _text_end(text, name_end + 2)
        else:
            value, after = _value(text, name_end + 1)
            if after < 0:
                return n, -1
            size = name_end - at
            if expected < last and blocks[expected + 1] == size and is_same(arena, blocks[expected], text, at, size):
                series = blocks[expected + 2]
            else:
                number = number_of(INFLUX_FIELD, blocks[line])
                series = find_in(arena, digest, entry, number, text, (at, name_end, name_end, name_end))
            if series < 0:
                return n, -1
            expected += 3
            found[_SERIES, n] = series
            found[_VALUE, n] = value
            n += 1
        if after < 0 or after >= len(text) or text[after] != _COMMA:
            return n, after
        at = after + 1


@kernel
def _scan(
    text: npt.NDArray[np.uint8], at: int, key: int, bounds: Bounds, known: Arrays, found: npt.NDArray[np.float64]
) -> tuple[int, int]:
    n = 0
    arena, digest, entry, number = known.arena, known.digest, known.entry, number_of(INFLUX_LINE, key)
    while at < len(text):
        if text[at] == _NEWLINE:
            at += 1
            continue
        prefix_end = _prefix_end(text, at)
        line = find_in(arena, digest, entry, number, text, (at, prefix_end, prefix_end, prefix_end))
        if line < 0:
            return n, at
        first = prefix_end
        while first < len(text) and text[first] == _BLANK:
            first += 1
        used, end = _fields(text, first, line, known, found, n)
        if end < 0:
            return n, at
        ts, end = _time(text, end, bounds)
        if end < 0:
            return n, at
        for row in range(n, used):
            found[_TS, row] = ts
        n, at = used, end
    return n, at
