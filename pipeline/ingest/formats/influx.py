r"""Influx line protocol, Telegraf's default: lines of `measurement,tag=value field=1i,other=2.5 1767225600000000000`.

One series a numeric field, named `measurement_field`; a field of measurement `prometheus` (Telegraf's name for what it
scraped) keeps its own name. Numbers are floats, integers (`1i`) or unsigned (`1u`), booleans are 1 and 0, texts are no
samples. Escapes are a backslash before a comma, an equals sign or a space. The unit of a time is told by its magnitude;
a line without one was measured when its message was sent. Lines stand alone: a bad one does not touch its neighbours.

Source: docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol, and the parsers of Telegraf and VictoriaMetrics.
"""

from __future__ import annotations

import re
from array import array
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.gathering import Gathering, Lines
from pipeline.ingest.naming import comes_twice
from pipeline.ingest.newcomers import Newcomers
from pipeline.ingest.scan.influx import SERIES, VALUE, LineScanner, Used
from pipeline.ingest.timestamps import to_millis

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.ingest.points import Context, Points
    from pipeline.ingest.scan.influx import Noted
    from pipeline.series import Frame

CONTENT_TYPES = ("application/vnd.influx.line-protocol", "text/vnd.influx.line-protocol")

_PATIENCE, _TIMES = 64, 8
"""How many lines the scanner notes at first, and how many times as many the next time."""
_ROWS, _FIELDS = 2048, 256
"""Rows, and names of fields, that are handled together: as objects of Python they take many times their bytes."""
# A backslash and what follows are one character of a measurement or a field's name. In tags a backslash is one by
# itself, even behind another: so has Telegraf's parser it (its machine.go.rl).
_MEASUREMENT = re.compile(rb"(?:[^, \\\n]++|\\[^\n]?)*+")
_FIELD_NAME = re.compile(rb"(?:[^,= \\\n]++|\\[^\n])++=")
_IGNORED = re.compile(rb"[ \t\r]*+(?:#[^\n]*+)?(?:\n|\Z)")
_INDENT = re.compile(rb"[ \t]*+")
_DELIMITER = re.compile(rb"(?<!\\) |\n")
_SPACES = re.compile(rb" +")
_COMMA = re.compile(rb"(?<!\\),")
_EQUALS = re.compile(rb"(?<!\\)=")
# Possessive throughout: one pass and no memory, whatever comes. A text may hold line breaks.
_FIELD = re.compile(rb'((?:[^,= \\\n]++|\\[^\n])++)=(?:"(?:[^"\\]++|\\.)*+"|([^,"\s]++))', re.DOTALL)
_FLOAT = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_INTEGER = re.compile(rb"[-+]?\d{1,20}[iu]")
_BACKSLASH = b"\\"
_ESCAPED = re.compile(rb'\\([,= "])')
_ESCAPED_IN_NAME = re.compile(rb"\\([, ])")
_BOOLEANS = {
    **dict.fromkeys((b"t", b"T", b"true", b"True", b"TRUE"), 1.0),
    **dict.fromkeys((b"f", b"F", b"false", b"False", b"FALSE"), 0.0),
}
_RANGES = {b"i": (-(2**63), 2**63 - 1), b"u": (0, 2**64 - 1)}


def sniff(payload: bytes) -> bool:
    """A line whose second word is `field=…`."""
    at = _after_ignored(payload)
    end = _prefix_end(payload, at)
    if payload[end : end + 1] != b" " or payload[at : at + 1] in (b"{", b"["):
        return False
    return _FIELD_NAME.match(payload, _after_spaces(payload, end)) is not None


def decode(payload: bytes, context: Context) -> Points:
    """Columns of samples; bad lines are refused, each with its number."""
    message = _Message(payload, context)
    message.lines.gather(message.take)
    return message.gathered.points()


class _Message:
    """A message of lines: what the scanner finds in it is named here, and what it leaves is read."""

    def __init__(self, payload: bytes, context: Context) -> None:
        self._payload = payload
        self._context = context
        self._limits = context.catalog.limits
        self._scanner = LineScanner(payload, context, self._limits.max_series + 1)
        self._patience = _PATIENCE
        self._tags, self._labelled = b"", context.catalog.labelled({}, context.key)
        self.gathered = Gathering(context)
        self.lines = Lines(payload, self.gathered, lambda line: line)

    def take(self, at: int) -> int:
        """Gather the samples of lines from this place on; the place after them. Raises DecodeError for the message."""
        used, end = self._scanner.scan(at, self._patience)
        if end == at:
            try:
                end = self._take(at)
            except DecodeError as error:
                return self.lines.refuse(at, error)
            self.gathered.check_series()
            return end
        self._patience = min(self._patience * _TIMES, _ROWS)
        if used.lines:
            used, end = self._named(used, end)
        self._gather(used.rows)
        self.gathered.check_series()
        return end

    def _gather(self, found: int) -> None:
        """Take the rows that were found and have a series, some at once: each copy takes as much again."""
        for begin in range(0, found, _ROWS):
            series, ts, value = self._scanner.room.rows[:, begin : min(begin + _ROWS, found)]
            good = series >= 0
            self.gathered.extend(series[good].astype(np.int64), ts[good].astype(np.int64), value[good])

    def _named(self, used: Used, end: int) -> tuple[Used, int]:
        """Name the new series, read the odd numbers, and let the scanner know; how far all that is then.

        Rows of lines that are refused have no series. Raises DecodeError where too many are.
        """
        newcomers = Newcomers(self._context.catalog)
        added = array("q")
        refused: list[slice] = []
        for number, line in enumerate(self._scanner.noted(used)):
            try:
                self._read_odd(line)
                for field, frame in zip(line.fields, self._frames(line), strict=True):
                    newcomers.add(frame, self._labelled)
                    added.append(field)
            except DecodeError as error:
                after = self.lines.refuse(line.at, error)
                refused.append(line.rows)
                self._scanner.leave_out(number)
                if after < line.end:  # a text with a line break: what is behind that is looked at anew
                    used, end = Used(line.rows.start, number, line.fields.start, line.odd.start), after
                    self._patience = _PATIENCE
                    break
        self._scanner.name(used, added, newcomers.placed())
        for rows in refused:
            self._scanner.room.rows[SERIES, rows] = -1
        self._scanner.learn(used)
        return used, end

    def _read_odd(self, line: Noted) -> None:
        """Read the numbers of a line that the scanner cannot. Raises DecodeError."""
        room = self._scanner.room
        for row, begin, end in room.odd[line.odd].tolist() if line.odd.start < line.odd.stop else ():
            room.rows[VALUE, row] = _number(self._payload[begin:end])

    def _frames(self, line: Noted) -> Iterator[Frame]:
        """Of the new series of a line, whose labels are `_labelled` then. Raises DecodeError."""
        if not line.fields and line.rows.start < line.rows.stop:
            return  # all are known
        prefix, catalog = self._payload[line.prefix], self._context.catalog
        end = prefix.find(b",") if _BACKSLASH not in prefix else _measurement_end(prefix, 0)
        measurement, tags = (prefix, b"") if end < 0 else (prefix[:end], prefix[end:])
        if tags != self._tags:
            self._labelled, self._tags = catalog.labelled(tags_of(tags), self._context.key), tags
        name = unescape(measurement, _ESCAPED_IN_NAME)
        self._limits.check_series(line.rows.stop - line.rows.start)
        fields = self._scanner.room.fields
        for first in range(line.fields.start, line.fields.stop, _FIELDS):
            for begin, end in fields[first : min(first + _FIELDS, line.fields.stop), :2].tolist():
                field = unescape(self._payload[begin:end])
                yield catalog.frame(series_name(name, field), self._labelled, None, None)

    def _take(self, at: int) -> int:
        """Gather the samples of the line at this place, which is not for the scanner. Raises DecodeError."""
        ignored = _IGNORED.match(self._payload, at)
        if ignored is not None:
            return ignored.end()
        line = parse_line(self._payload, at)
        ts = self._context.arrived if line.ts is None else line.ts
        self._context.window.check(ts)
        measurement, tags = name_and_tags(line.prefix)
        self._limits.check_series(len(line.fields))
        names = (series_name(measurement, unescape(field)) for field, _ in line.fields)
        known = [self._context.catalog.place(name, tags, self._context.key, None, None) for name in names]
        for index, (_, value) in zip(known, line.fields, strict=True):
            self.gathered.add(index, ts, value)
        return line.end


def series_name(measurement: str, field: str) -> str:
    """Name of the series of a field. Raises DecodeError where there is no measurement."""
    if not measurement:
        raise DecodeError(f"field {field[:40]!r} of no measurement", reason="labels")
    return field if measurement == "prometheus" else f"{measurement}_{field}"


class Line(NamedTuple):
    """One line: its raw measurement and tags, its numeric fields (raw name, value), its time in ms if it tells."""

    prefix: bytes
    fields: list[tuple[bytes, float]]
    ts: int | None
    end: int


def parse_line(text: bytes, at: int) -> Line:
    """The line that begins at this place, `end` after its line break. Raises DecodeError."""
    indent = _INDENT.match(text, at)
    at = indent.end() if indent else at
    end = _prefix_end(text, at)
    if text[end : end + 1] != b" ":
        raise DecodeError("no fields: a line is `measurement,tag=value field=value time`", reason="syntax")
    prefix = text[at:end]
    fields, at = _fields(text, _after_spaces(text, end))
    rest, end = _rest(text, at)
    return Line(prefix, fields, _time(rest) if rest else None, end)


def name_and_tags(prefix: bytes) -> tuple[str, dict[str, str]]:
    """Measurement and tags of a line, unescaped. Raises DecodeError."""
    end = _measurement_end(prefix, 0)
    tags = tags_of(prefix[end:])
    return unescape(prefix[:end], _ESCAPED_IN_NAME), tags


def tags_of(raw: bytes) -> dict[str, str]:
    """Tags of a line from the comma before them on, unescaped; one without a key is left out. Raises DecodeError."""
    labels: dict[str, str] = {}
    for tag in _split(raw[1:], b",", _COMMA) if raw else ():
        parts = _split(tag, b"=", _EQUALS, 1)
        if len(parts) != 2:
            raise DecodeError(f"tag {_quoted(tag)} has no value", reason="labels")
        if parts[0]:
            name = unescape(parts[0])
            if name in labels:
                raise comes_twice(name)
            labels[name] = unescape(parts[1])
    return labels


def _split(raw: bytes, mark: bytes, unescaped: re.Pattern[bytes], most: int = -1) -> list[bytes]:
    """Split at marks that no backslash is before, at so many at most; most texts have none, and are split faster."""
    return raw.split(mark, most) if _BACKSLASH not in raw else unescaped.split(raw, max(most, 0))


def unescape(raw: bytes, escaped: re.Pattern[bytes] = _ESCAPED) -> str:
    """A tag or a field's name as text. Raises DecodeError where it is not UTF-8."""
    try:
        return (escaped.sub(rb"\1", raw) if _BACKSLASH in raw else raw).decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{_quoted(raw)} is not UTF-8", reason="syntax") from error


def _fields(text: bytes, at: int) -> tuple[list[tuple[bytes, float]], int]:
    fields = []
    while True:
        match = _FIELD.match(text, at)
        if match is None:
            rest = text[at : at + 40].partition(b"\n")[0]
            raise DecodeError(f"no `field=value` at {_quoted(rest)}", reason="fields")
        name, number = match.groups()
        if number is not None:
            fields.append((name, _number(number)))
        at = match.end()
        if text[at : at + 1] != b",":
            return fields, at
        at += 1


def _measurement_end(text: bytes, at: int) -> int:
    match = _MEASUREMENT.match(text, at)
    return match.end() if match else at


def _prefix_end(text: bytes, at: int) -> int:
    """Place of the blank behind measurement and tags; that of the line break, or of the end, where there is none."""
    at = _measurement_end(text, at)
    if text[at : at + 1] != b",":
        return at
    end = _DELIMITER.search(text, at)
    return len(text) if end is None else end.start()


def _after_ignored(text: bytes) -> int:
    at = 0
    while at < len(text) and (ignored := _IGNORED.match(text, at)) is not None:
        at = ignored.end()
    indent = _INDENT.match(text, at)
    return indent.end() if indent else at


def _after_spaces(text: bytes, at: int) -> int:
    spaces = _SPACES.match(text, at)
    return spaces.end() if spaces else at


def _rest(text: bytes, at: int) -> tuple[bytes, int]:
    """What follows the fields, without white space, and the place after the line break."""
    newline = text.find(b"\n", at)
    rest = text[at:] if newline < 0 else text[at:newline]
    if rest and rest[:1] not in (b" ", b"\r"):
        raise DecodeError(f"a space or a comma is wanted after a field, not {_quoted(rest)}", reason="fields")
    return rest.strip(), len(text) if newline < 0 else newline + 1


def _time(text: bytes) -> int:
    if not re.fullmatch(rb"-?\d{1,20}", text):
        raise DecodeError(f"time {_quoted(text)} is not an integer", reason="timestamp")
    return to_millis(int(text))


def _number(text: bytes) -> float:
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise DecodeError(f"{_quoted(text)} is beyond all floats", reason="fields")
        return value
    if _INTEGER.fullmatch(text):
        low, high = _RANGES[text[-1:]]
        whole = int(text[:-1])
        if low <= whole <= high:
            return float(whole)
        raise DecodeError(f"{_quoted(text)} is out of range", reason="fields")
    try:
        return _BOOLEANS[text]
    except KeyError:
        raise DecodeError(f"{_quoted(text)} is no value of a field", reason="fields") from None


def _quoted(raw: bytes) -> str:
    return repr(raw[:40].decode("utf-8", "replace"))
