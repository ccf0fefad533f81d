"""A compiled reader of the line protocol.

It finds the fields, values and time of a line and looks each series up by the very bytes of measurement and tags, and
of the field's name. What it does not know, or cannot read as a number, it notes with its line, for the decoder to name
and to read; a line with anything else in it it leaves to the decoder altogether, and goes on behind it. A property test
holds both to the same answer on arbitrary messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.ingest.scan.compiled import kernel
from pipeline.ingest.scan.decimals import read_decimal
from pipeline.ingest.scan.influx_value import read_value
from pipeline.ingest.scan.known import (
    INFLUX_FIELD,
    INFLUX_LINE,
    KNOWN_AS,
    START,
    Held,
    find_in,
    is_same,
    learn_in,
    number_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.ingest.points import Context
    from pipeline.ingest.scan.known import Arrays

_TAB, _NEWLINE, _RETURN, _BLANK, _QUOTE, _HASH, _COMMA, _EQUALS, _BACKSLASH = 9, 10, 13, 32, 34, 35, 44, 61, 92
SERIES, _TS, VALUE = range(3)
_DOT = 46
_SECONDS_BELOW, _MILLIS_BELOW, _MICROS_BELOW = np.uint64(10**11), np.uint64(10**14), np.uint64(10**17)
_LONGEST_TIME = 20
_NO_ROOM = -2
# A field and what divides it from the next take four bytes at least.
_SHORTEST_FIELD = 4
_AT, _END, _PREFIX, _PREFIX_END, _ROW, _ROWS_END, _FIELDS_END, _ODD_END = range(8)
_ROWS, _TIMES = 2048, 4
"""Samples that are read at once, and how many times as many where a line has more."""


class Bounds(NamedTuple):
    """Times of a message, ms: its own, and between which its samples may lie."""

    arrived: int
    earliest: int
    latest: int


class Room(NamedTuple):
    """Where a scan writes.

    rows float64[3, n]: series, ms, value of each sample; a new series is -1 less its number among the new fields. lines
    int32[n, 8] are those of which something is to be named or read: where each begins and ends, where its measurement
    begins and its tags end, its first row, and how many rows, new fields and odd numbers there are then. fields
    int32[n, 3] are new ones: where the name of each begins and ends, and its row. odd int32[n, 3]: the row of a number
    that is to be read, where its text begins and ends.
    """

    rows: npt.NDArray[np.float64]
    lines: npt.NDArray[np.int32]
    fields: npt.NDArray[np.int32]
    odd: npt.NDArray[np.int32]


class Used(NamedTuple):
    """How much of the room is."""

    rows: int
    lines: int
    fields: int
    odd: int


class Noted(NamedTuple):
    """A line of which something is to be named or read: its places, and which of what was found is of it."""

    at: int
    end: int
    prefix: slice
    rows: slice
    fields: range
    odd: slice


class LineScanner:
    """Reads one message, from where it is told."""

    def __init__(self, payload: bytes, context: Context, most_fields: int) -> None:
        """`most_fields`: new ones that are noted before they must be known."""
        self._text = np.frombuffer(payload, dtype=np.uint8)
        self._known = context.catalog.known
        # The key may name the service, so the same line under another one is of other series.
        self._key = self._known.key_part(context.key)
        self._bounds = Bounds(context.arrived, *context.window)
        self._most_rows = min(payload.count(b"="), len(payload) // _SHORTEST_FIELD + 1)
        self._most_fields = most_fields
        self._make_room(_ROWS)

    def _make_room(self, rows: int) -> None:
        rows = min(rows, self._most_rows)
        self.room = Room(
            np.empty((3, rows)),
            np.empty((min(rows, _ROWS) + 1, 8), dtype=np.int32),
            np.empty((min(rows, self._most_fields), 3), dtype=np.int32),
            np.empty((rows, 3), dtype=np.int32),
        )

    def scan(self, at: int, most_lines: int) -> tuple[Used, int]:
        """Read the lines from this place on, up to one that is not for here, or one to be noted too many; its place."""
        while True:
            what = (at, most_lines, self._key)
            *used, end = _scan(self._text, what, self._bounds, self._known.arrays, self.room)
            rows = self.room.rows.shape[1]
            # A line that fits no room is read in more; it is let go of afterwards.
            if end >= 0 or rows >= self._most_rows:
                return Used(*used), end if end >= 0 else at
            self._make_room(_TIMES * rows)

    def noted(self, used: Used) -> Iterator[Noted]:
        """The lines that were noted."""
        fields = odd = 0
        for number in range(used.lines):
            at, end, begin, prefix_end, row, rows_end, fields_end, odd_end = self.room.lines[number].tolist()
            of_line = range(fields, fields_end)
            yield Noted(at, end, slice(begin, prefix_end), slice(row, rows_end), of_line, slice(odd, odd_end))
            fields, odd = fields_end, odd_end

    def leave_out(self, number: int) -> None:
        """Of this line, among those noted, nothing is to be known."""
        self.room.lines[number, _AT] = -1

    def name(self, used: Used, fields: Sequence[int], series: npt.NDArray[np.int64]) -> None:
        """These new fields, ascending, are these series; others are none."""
        rows = self.room.fields[: used.fields, 2]
        self.room.rows[SERIES, rows] = -1
        of_these = np.asarray(fields, dtype=np.int64)
        of_these = of_these[of_these < used.fields]
        self.room.rows[SERIES, rows[of_these]] = series[: len(of_these)]

    def learn(self, used: Used) -> None:
        """Know the series of what was noted, which rows have by now."""
        of_lines = self.room.lines[: used.lines]
        size = int((of_lines[:, _PREFIX_END] - of_lines[:, _PREFIX]).sum())
        size += int((self.room.fields[: used.fields, 1] - self.room.fields[: used.fields, 0]).sum())
        self._known.make_room(used.lines + used.fields, size, 2 * used.lines + 3 * used.fields)
        known = self._known
        known.held = Held(*_learn_lines(self._text, (used.lines, self._key), known.arrays, self.room, known.held))


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
    """Place after the closing quote of a text, which may hold line breaks; -1 where there is none."""
    while at < len(text):
        c = text[at]
        if c == _QUOTE:
            return at + 1
        at += 2 if c == _BACKSLASH else 1
    return -1


@kernel
def _line_begin(text: npt.NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Where the next line begins that is neither empty nor a comment, and its measurement, behind blanks."""
    while at < len(text):
        begin = at
        while begin < len(text) and text[begin] in (_BLANK, _TAB, _RETURN):
            begin += 1
        if begin < len(text) and text[begin] == _HASH:
            while begin < len(text) and text[begin] != _NEWLINE:
                begin += 1
        if begin < len(text) and text[begin] != _NEWLINE:
            begin = at
            while text[begin] in (_BLANK, _TAB):
                begin += 1
            return at, begin
        at = begin + 1
    return len(text), len(text)


@kernel
def _after_white(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place after white space, as `bytes.strip` has it, up to the line break."""
    while at < len(text) and text[at] != _NEWLINE and (text[at] == _BLANK or _TAB <= text[at] <= _RETURN):
        at += 1
    return at


@kernel
def _line_end(text: npt.NDArray[np.uint8], at: int) -> int:
    """Place after the white space and the line break that end a line; -1 where anything else is there."""
    at = _after_white(text, at)
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
    if at < len(text) and text[at] not in (_BLANK, _RETURN, _NEWLINE):
        return 0, -1
    end = _line_end(text, at)
    if end >= 0:
        return bounds.arrived, end
    at = _after_white(text, at)
    number, scale, after = read_decimal(text, at, len(text))
    if after < 0 or scale > 0 or text[after - 1] == _DOT or after - at > _LONGEST_TIME:
        return 0, -1
    ts = _to_millis(number)
    return ts, _line_end(text, after) if bounds.earliest <= ts <= bounds.latest else -1


@kernel
def _series_of(
    arrays: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.int64]],
    part: int,
    text: npt.NDArray[np.uint8],
    at: int,
    end: int,
) -> int:
    """Series of the field of this name in lines of this part (-1: of new ones); -1 where it is new."""
    if part < 0:
        return -1
    arena, slots, entry = arrays
    return int(find_in(arena, slots, entry, number_of(INFLUX_FIELD, part), text, (at, end, end, end)))


@kernel
def _fields(
    text: npt.NDArray[np.uint8], at: int, line: int, known: Arrays, room: Room, used: tuple[int, int, int]
) -> tuple[int, int, int, int]:
    """Samples of the fields of a line (its layout's place, -1 where it is new), still without their time.

    Rows, new fields and odd numbers that are used then, and the place after the fields, -1 where one is not for here,
    `_NO_ROOM` where there are too many.
    """
    arena, blocks, arrays = known.arena, known.blocks, (known.arena, known.slots, known.entry)
    rows, (n, fields, odd) = room.rows, used
    part, expected, last = -1, 0, 0
    if line >= 0:
        part, expected, last = blocks[line], line + 2, line + 2 + 3 * blocks[line + 1]
    while True:
        name_end = _name_end(text, at)
        if name_end < 0:
            return n, fields, odd, -1
        if name_end + 1 < len(text) and text[name_end + 1] == _QUOTE:
            after = _text_end(text, name_end + 2)
        else:
            value, after, is_odd = read_value(text, name_end + 1)
            if after < 0 or n >= rows.shape[1] or fields >= len(room.fields):
                return n, fields, odd, -1 if after < 0 else _NO_ROOM
            room.odd[odd, 0], room.odd[odd, 1], room.odd[odd, 2] = n, name_end + 1, after
            odd += is_odd
            size = name_end - at
            if expected < last and blocks[expected + 1] == size and is_same(arena, blocks[expected], text, at, size):
                series = blocks[expected + 2]
            else:
                series = _series_of(arrays, part, text, at, name_end)
            if series < 0:
                room.fields[fields, 0], room.fields[fields, 1], room.fields[fields, 2] = at, name_end, n
                fields += 1
                series = -fields
            expected += 3
            rows[SERIES, n] = series
            rows[VALUE, n] = value
            n += 1
        if after < 0 or after >= len(text) or text[after] != _COMMA:
            return n, fields, odd, after
        at = after + 1


@kernel
def _scan(
    text: npt.NDArray[np.uint8], start: tuple[int, int, int], bounds: Bounds, known: Arrays, room: Room
) -> tuple[int, int, int, int, int]:
    """Read from a place on, at most so many lines to be noted, with this part for the key: what is used, and the end.

    That is `_NO_ROOM` where there is none for the first line that says anything.
    """
    at, most_lines, key = start
    n, lines, fields, odd = 0, 0, 0, 0
    arena, slots, entry, number = known.arena, known.slots, known.entry, number_of(INFLUX_LINE, key)
    most_lines = min(most_lines, len(room.lines))
    while True:
        at, begin = _line_begin(text, at)
        if at >= len(text):
            return n, lines, fields, odd, at
        prefix_end = _prefix_end(text, begin)
        if prefix_end >= len(text) or text[prefix_end] != _BLANK:
            return n, lines, fields, odd, at
        line = find_in(arena, slots, entry, number, text, (begin, prefix_end, prefix_end, prefix_end))
        first = prefix_end
        while first < len(text) and text[first] == _BLANK:
            first += 1
        used, new, strange, end = _fields(text, first, line, known, room, (n, fields, odd))
        if end < 0:
            return n, lines, fields, odd, _NO_ROOM if end == _NO_ROOM and lines == n == 0 else at
        ts, end = _time(text, end, bounds)
        if end < 0:
            return n, lines, fields, odd, at
        if line < 0 or new > fields or strange > odd:
            if lines >= most_lines:
                return n, lines, fields, odd, at
            into = room.lines[lines]
            into[_AT], into[_END], into[_PREFIX], into[_PREFIX_END], into[_ROW] = at, end, begin, prefix_end, n
            into[_ROWS_END], into[_FIELDS_END], into[_ODD_END] = used, new, strange
            lines += 1
        for row in range(n, used):
            room.rows[_TS, row] = ts
        n, fields, odd, at = used, new, strange, end


@kernel
def _learn_lines(text: npt.NDArray[np.uint8], what: tuple[int, int], known: Arrays, room: Room, held: Held) -> Held:
    """Know the new series of so many lines, under this part for the key; there is room for them.

    A new line's layout is as `pipeline.ingest.scan.known.Arrays` says.
    """
    lines, key = what
    field = 0
    for noted in range(lines):
        line = room.lines[noted]
        first, field = field, int(np.int64(line[_FIELDS_END]))
        if line[_AT] < 0 or (first == field and line[_ROW] < line[_ROWS_END]):
            continue  # nothing is new
        begin, end = int(np.int64(line[_PREFIX])), int(np.int64(line[_PREFIX_END]))
        slot, held = learn_in(known, number_of(INFLUX_LINE, key), text, (begin, end, end, end), held.blocks, held)
        place = known.entry[slot, KNOWN_AS]
        is_new = place == held.blocks
        if is_new:
            known.blocks[place], known.blocks[place + 1] = held.parts, field - first
            held = Held(held.used, held.keys, held.parts + 1, place + 2 + 3 * (field - first))
        number = number_of(INFLUX_FIELD, known.blocks[place])
        for one in range(first, field):
            begin, end = int(np.int64(room.fields[one, 0])), int(np.int64(room.fields[one, 1]))
            series = int(np.int64(room.rows[SERIES, room.fields[one, 2]]))
            slot, held = learn_in(known, number, text, (begin, end, end, end), series, held)
            if is_new:
                at = place + 2 + 3 * (one - first)
                known.blocks[at], known.blocks[at + 1] = known.entry[slot, START], end - begin
                known.blocks[at + 2] = series
    return held
