r"""Prometheus and OpenMetrics text: the body of a scrape in a message.

    # TYPE http_requests_total counter
    http_requests_total{service="duri_core",status="200"} 1027 1767225600000

`# TYPE` says the kind, else the name does. A time may be milliseconds (Prometheus) or seconds (OpenMetrics); a sample
without one was measured when its message was sent. Exemplars are skipped. Lines stand alone: a bad one does not touch
its neighbours.

Sources: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics 1.0 specification, and for quoted names
Prometheus 3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.errors import DecodeError
from pipeline.ingest.formats.numerals import to_float
from pipeline.ingest.gathering import Gathering, Lines
from pipeline.ingest.naming import comes_twice
from pipeline.ingest.timestamps import to_millis
from pipeline.series import Kind

if TYPE_CHECKING:
    from pipeline.ingest.catalog import Labelled
    from pipeline.ingest.points import Context, Points

CONTENT_TYPES = (
    "application/openmetrics-text",
    "text/plain;version=0.0.4",
    "text/plain;version=0.0.4;charset=utf-8",
    "text/plain;version=1.0.0",
)

_COMMENT = re.compile(rb"[ \t]*+(?:#([^\n]*+))?(?:\n++|\Z)")
_SAMPLE = re.compile(
    rb'[ \t]*+([^\s{}"#]*+)[ \t]*+(\{(?:[^}"\n]++|"(?:[^"\\\n]++|\\.)*+")*+\})?+[ \t]*+'
    rb"([^\s#{}]++)(?:[ \t]++([^\s#]++))?+[ \t]*+(?:#[^\n]*+)?+\r?(?:\n|\Z)"
)
_NAME = re.compile(rb"[^\s{}#]*+")
_LABEL = re.compile(
    rb'[ \t]*+(?:([^\s=,{}"]++)|"((?:[^"\\]++|\\.)*+)")[ \t]*+(?:=[ \t]*+"((?:[^"\\]++|\\.)*+)")?+[ \t]*+(?:,|\})'
)
_LABELS_END = re.compile(rb"[ \t]*+\}?\Z")
_SNIFF = re.compile(
    rb"\s*+(?:#[ \t]*+(?:HELP|TYPE|UNIT|EOF)\b"
    rb"|[a-zA-Z_:][a-zA-Z0-9_:.]*+[ \t]*+"
    rb'(?:\{(?:[^}"\n]++|"(?:[^"\\\n]++|\\.)*+")*+\})?+[ \t]*+[-+]?(?:[\d.]|NaN|Inf)'
    rb'|\{[ \t]*+"[^"\n]*+"[ \t]*+[,}])'
)
_ESCAPE = re.compile(rb'\\([\\"n])')
_UNESCAPED = {b"\\": b"\\", b'"': b'"', b"n": b"\n"}

# By type and the suffix of a sample of such a family; what is not here goes by its name.
_KINDS = {
    ("counter", ""): Kind.COUNTER,
    ("counter", "_total"): Kind.COUNTER,
    ("histogram", "_bucket"): Kind.BUCKET,
    ("histogram", "_count"): Kind.COUNTER,
    ("histogram", "_sum"): Kind.COUNTER,
    ("summary", ""): Kind.GAUGE,
    ("summary", "_count"): Kind.COUNTER,
    ("summary", "_sum"): Kind.COUNTER,
    ("gaugehistogram", "_bucket"): Kind.GAUGE,
    ("gaugehistogram", "_gcount"): Kind.GAUGE,
    ("gaugehistogram", "_gsum"): Kind.GAUGE,
    ("gauge", ""): Kind.GAUGE,
    ("stateset", ""): Kind.GAUGE,
    ("info", ""): Kind.GAUGE,
    ("info", "_info"): Kind.GAUGE,
    **{(family, "_created"): Kind.GAUGE for family in ("counter", "histogram", "summary", "gaugehistogram")},
}
_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created", "_gcount", "_gsum", "_info")


def sniff(payload: bytes) -> bool:
    """A `# HELP`, `# TYPE`, `# UNIT` or `# EOF`, or a line of name, labels and number."""
    return _SNIFF.match(payload) is not None


def decode(payload: bytes, context: Context) -> Points:
    """Columns of samples; bad lines are refused, each with its number."""
    body = _Body(payload, context)
    body.lines.gather(body.take)
    return body.gathered.points()


class _Body:
    """The body of a scrape."""

    def __init__(self, payload: bytes, context: Context) -> None:
        self._payload = payload
        self._catalog, self._key, self._arrived = context.catalog, context.key, context.arrived
        self._known = context.catalog.texts(context.key)
        self._window = context.window
        self._types = Types()
        self._labels: tuple[bool, bytes] | None = None
        self.gathered = Gathering(context)
        self.lines = Lines(payload, self.gathered, self._types.with_line)

    def take(self, at: int) -> int:
        """Gather the sample of the line at this place, or refuse it; the place after it. Raises DecodeError."""
        match = _SAMPLE.match(self._payload, at)
        if match is None:
            return self._other(at)
        name, labels, value, time = match.groups()
        series = self._known.get((name, labels))
        try:
            number = float(value) if value.isdigit() else to_float(value.decode("utf-8", "replace"))
            ts = self._millis(time) if time else self._arrived
            index = self._meet(name, labels) if series is None else series
        except DecodeError as error:
            return self.lines.refuse(at, error)
        self.gathered.add(index, ts, number)
        if series is None:
            self.gathered.check_series()
        return match.end()

    def _other(self, at: int) -> int:
        """Take note of the comment at this place, or refuse what it is; the place after it. Raises DecodeError."""
        comment = _COMMENT.match(self._payload, at)
        if comment is None:
            return self.lines.refuse(at, DecodeError('a line is `name{label="value"} number time`', reason="syntax"))
        self._types.note(comment[1] or b"")
        return comment.end()

    def _millis(self, time: bytes) -> int:
        """Raises DecodeError."""
        ts = to_millis(to_float(time.decode("utf-8", "replace")))
        self._window.check(ts)
        return ts

    def _meet(self, name: bytes, labels: bytes | None) -> int:
        """Index of a series that is written so for the first time. Raises DecodeError."""
        metric, labelled = self._named(name, labels or b"")
        frame = self._catalog.frame(metric, labelled, self._types.kind(metric), None)
        index = self._known[name, labels] = self._catalog.series.place(frame, labelled.text, labelled.partition)
        return index

    def _named(self, name: bytes, labels: bytes) -> tuple[str, Labelled]:
        """What the series of a line is called; mostly many have the same labels. Raises DecodeError."""
        metric = _text(name)
        if self._labels != (bool(metric), labels):
            self._name, texts = name_and_labels(metric, labels)
            self._labelled = self._catalog.labelled(texts, self._key)
            self._labels = (bool(metric), labels)
        return metric or self._name, self._labelled


def name_and_labels(metric: str, labels: bytes) -> tuple[str, dict[str, str]]:
    """Name and labels of a sample line, unescaped; the name may be in the braces, in quotes. Raises DecodeError."""
    texts: dict[str, str] = {}
    at = 1
    while _LABELS_END.match(labels, at) is None:
        match = _LABEL.match(labels, at)
        if match is None:
            raise DecodeError(f"no label at {labels[at : at + 40].decode('utf-8', 'replace')!r}", reason="labels")
        plain, quoted, value = match.groups()
        label = _text(plain if quoted is None else quoted)
        if label in texts:
            raise comes_twice(label)
        if value is not None:
            texts[label] = _text(value)
        elif metric or quoted is None:
            raise DecodeError(f"label {label[:40]!r} has no value", reason="labels")
        else:
            metric = label
        at = match.end()
    return metric, texts


class Types:
    """What the `# TYPE` comments of a body have said so far."""

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._known: dict[str, Kind | None] = {}

    def note(self, comment: bytes) -> None:
        """Take a comment; anything but `TYPE name type` is of no account."""
        words = comment.split(None, 2)
        if len(words) == 3 and words[0] == b"TYPE":
            self._of[words[1].strip(b'"').decode("utf-8", "replace")] = words[2].strip().decode("utf-8", "replace")
            self._known.clear()

    def kind(self, name: str) -> Kind | None:
        """Kind of the samples of this name, None where nothing was said."""
        if not self._of:
            return None
        if name not in self._known:
            _, self._known[name] = self._family(name)
        return self._known[name]

    def with_line(self, line: bytes) -> bytes:
        """A line as a message by itself: after the comment that says its type, where there was one."""
        name = _NAME.match(line)
        family, kind = self._family(name[0].decode("utf-8", "replace")) if name and name[0] else ("", None)
        return f"# TYPE {family} {self._of[family]}\n".encode() + line if kind else line

    def _family(self, name: str) -> tuple[str, Kind | None]:
        for suffix in ("", *(suffix for suffix in _SUFFIXES if name.endswith(suffix))):
            family = name.removesuffix(suffix)
            kind = _KINDS.get((self._of.get(family, ""), suffix))
            if kind is not None:
                return family, kind
        return "", None


def _text(raw: bytes) -> str:
    try:
        return (_ESCAPE.sub(lambda match: _UNESCAPED[match[1]], raw) if b"\\" in raw else raw).decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{raw[:40]!r} is not UTF-8", reason="syntax") from error
