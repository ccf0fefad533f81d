"""The formats that ingest reads: what a decoder is, and how one is chosen for a message.

A decoder is a pure function of a message's bytes, one format a file. A new one is written beside these, added to
`FORMATS`, and described in docs/formats.md. The choice: the `content-type` header, then the topic's setting, then
a look at the first bytes. A message that `content-encoding` says is compressed is unfolded before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.formats import (
    arrow,
    cloudevents,
    columnar,
    exposition,
    influx,
    kafka_adapter,
    otlp_json,
    otlp_protobuf,
    remote_write,
    remote_write_2,
    samples_json,
    telegraf_json,
    vector,
)
from pipeline.ingest.scan.scanner import Form
from pipeline.ingest.transport import ENCODING_HEADER, unfold

if TYPE_CHECKING:
    from pipeline.ingest.limits import Limits
    from pipeline.ingest.points import Context, Points
    from pipeline.stage import Headers

AUTO = "auto"

Decode = Callable[[bytes, "Context"], "Points"]
"""Reads a whole message or raises DecodeError. A format of independent pieces gives bad ones as `Points.refused`."""


def _as_it_is(payload: bytes, encoding: str, limits: Limits) -> bytes:  # noqa: ARG001  the signature of those that do
    return payload


@dataclass(frozen=True, slots=True)
class Format:
    """A wire format: its name in settings, its content types, its first bytes, its decoder."""

    name: str
    content_types: Sequence[str]
    sniff: Callable[[bytes], bool]
    decode: Decode
    form: Form = Form.NONE
    """What messages of the format may be scanned as, once they are unfolded."""
    unfold: Callable[[bytes, str, Limits], bytes] = _as_it_is
    """Takes off a compression that is part of the format, where `content-encoding` (the text) has not.

    Raises DecodeError. `decode` takes the message with it or without.
    """


def _open(payload: bytes, context: Context) -> Points:
    """The samples of the message inside a CloudEvent. Raises DecodeError."""
    event = cloudevents.open_envelope(payload)
    headers = [("content-type", event.content_type.encode())] if event.content_type else []
    inside = open_message(event.payload, headers, AUTO, context.catalog.limits)
    points = decode_message(inside._replace(time=event.time), context)
    if event.time is None or not points.refused:
        return points
    return points._replace(refused=[one._replace(time=one.time or event.time) for one in points.refused])


FORMATS: tuple[Format, ...] = (
    Format(
        "remote_write",
        remote_write.CONTENT_TYPES,
        remote_write.sniff,
        remote_write.decode,
        Form.REMOTE_WRITE,
        remote_write.unfolded,
    ),
    Format(
        "remote_write_2",
        remote_write_2.CONTENT_TYPES,
        remote_write_2.sniff,
        remote_write_2.decode,
        Form.REMOTE_WRITE_2,
        remote_write_2.unfolded,
    ),
    Format("otlp_protobuf", otlp_protobuf.CONTENT_TYPES, otlp_protobuf.sniff, otlp_protobuf.decode, Form.OTLP),
    Format("otlp_json", otlp_json.CONTENT_TYPES, otlp_json.sniff, otlp_json.decode),
    Format("columnar", columnar.CONTENT_TYPES, columnar.sniff, columnar.decode),
    Format("cloudevents", cloudevents.CONTENT_TYPES, cloudevents.sniff, _open),
    Format("vector", vector.CONTENT_TYPES, vector.sniff, vector.decode),
    Format("telegraf", telegraf_json.CONTENT_TYPES, telegraf_json.sniff, telegraf_json.decode),
    Format("kafka_adapter", kafka_adapter.CONTENT_TYPES, kafka_adapter.sniff, kafka_adapter.decode),
    Format("prometheus", exposition.CONTENT_TYPES, exposition.sniff, exposition.decode),
    Format("json", samples_json.CONTENT_TYPES, samples_json.sniff, samples_json.decode, Form.JSON_SAMPLE),
    Format("arrow", arrow.CONTENT_TYPES, arrow.sniff, arrow.decode),
    Format("influx", influx.CONTENT_TYPES, influx.sniff, influx.decode),
)
"""In the order in which they are tried on a message that nothing names."""

_BY_NAME = {entry.name: entry for entry in FORMATS}
_BY_CONTENT_TYPE = {content_type: entry for entry in FORMATS for content_type in map(str.lower, entry.content_types)}
# These say the syntax only; which format it is shows in the message.
_UNSPECIFIC = frozenset(
    {"", "application/json", "application/octet-stream", "application/x-protobuf", "application/protobuf", "text/plain"}
)


class Opened(NamedTuple):
    """A message of which it is known what it is: its format, its bytes without `content-encoding`, which that was.

    `time` is what an envelope or its headers say, as text.
    """

    format: Format
    payload: bytes
    encoding: str
    time: str | None = None


class Told(NamedTuple):
    """What headers say of a message, lower case; nothing where they do not."""

    content_type: bytes = b""
    encoding: str = ""
    time: str = ""

    @property
    def is_plain_json(self) -> bool:
        """Whether the message, if it is JSON, may be a sample that is not compressed."""
        return self.encoding in ("", "identity") and _may_be_samples(self.content_type)


_UNTOLD = Told()


def told_by(headers: Headers) -> Told:
    """What these headers say."""
    if not headers:
        return _UNTOLD
    named = {name.lower(): value or b"" for name, value in headers}
    return Told(
        named.get("content-type", b""),
        named.get(ENCODING_HEADER, b"").decode("utf-8", "replace").strip().lower(),
        named.get(cloudevents.TIME_HEADER, b"").decode("utf-8", "replace"),
    )


@lru_cache(maxsize=1024)
def _may_be_samples(content_type: bytes) -> bool:
    try:
        named = _by_content_type(content_type)
    except DecodeError:
        return False
    return named is None or named.decode is samples_json.decode


def open_message(payload: bytes, headers: Headers, topic_format: str, limits: Limits) -> Opened:
    """Unfold what `content-encoding` says, and choose the format. Raises DecodeError."""
    told = told_by(headers)
    payload = unfold(payload, told.encoding, limits)
    return Opened(choose(payload, told.content_type, topic_format), payload, told.encoding, told.time)


def decode_message(message: Opened, context: Context) -> Points:
    """The samples of a message. Raises DecodeError."""
    context = context._replace(encoding=message.encoding, size=len(message.payload))
    context = cloudevents.at_time(context, message.time)
    points = message.format.decode(message.payload, context)
    if message.format.decode is not _open and len(points.ts):  # what is inside an envelope has its window
        context.window.check(int(np.max(points.ts)))
        context.window.check(int(np.min(points.ts)))
    if not points.refused:
        return points
    content_type = message.format.content_types[0]
    return points._replace(
        refused=[one if one.content_type else one._replace(content_type=content_type) for one in points.refused]
    )


def choose(payload: bytes, content_type: bytes | None, topic_format: str) -> Format:
    """The format of this message. Raises DecodeError (reason `format`) where none fits."""
    if content_type:
        named = _by_content_type(content_type)
        if named is not None:
            return named
    if topic_format != AUTO:
        return by_name(topic_format)
    for entry in FORMATS:
        if entry.sniff(payload):
            return entry
    raise DecodeError(f"no known format starts with {payload[:24]!r}; name it in content-type", reason="format")


def _by_content_type(header: bytes) -> Format | None:
    # A format may claim a type with some parameters, or whatever they are.
    content_type, *parameters = header.decode("utf-8", "replace").replace(" ", "").lower().split(";")
    named = None
    for some in range(len(parameters), -1, -1):
        named = named or _BY_CONTENT_TYPE.get(";".join([content_type, *parameters[:some]]))
    if named is None and content_type not in _UNSPECIFIC:
        raise DecodeError(
            f"content type {content_type[:80]!r} is not read here; the formats are {', '.join(_BY_NAME)}, and "
            "docs/formats.md has their content types",
            reason="format",
        )
    return named


def by_name(name: str) -> Format:
    """The format that settings call by this name. Raises DecodeError (reason `format`)."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise DecodeError(f"format {name!r} is none of {', '.join(_BY_NAME)}", reason="format") from None
