"""CloudEvents in structured JSON: an envelope around a message of any other format.

    {"specversion": "1.0", "id": "17", "source": "/host/web-1", "type": "metrics", "datacontenttype": "text/plain",
     "data": "cpu,host=web-1 usage_idle=98.5 1767225600000000000"}

`data` is JSON, or a text that is the message, or `data_base64` has its bytes; `datacontenttype` says its format where
it can, else it is looked at. Samples without a time have the event's. In the binary mode there is no envelope: the
headers are `ce_…`, of which only the time is of account, and `content-type` is that of the message.

Source: the CloudEvents 1.0 JSON format, sections 3 and 3.1.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from pipeline.errors import DecodeError
from pipeline.ingest.parsing import has_keys, parse_json
from pipeline.ingest.timestamps import to_millis

if TYPE_CHECKING:
    from pipeline.ingest.limits import TimeWindow
    from pipeline.ingest.points import Context

TIME_HEADER: Final = "ce_time"
CONTENT_TYPES = ("application/cloudevents+json", "application/cloudevents")


class Event(NamedTuple):
    """The message inside, and what the envelope says of its format and time."""

    payload: bytes
    content_type: str | None
    time: str | None


class _Envelope(msgspec.Struct, gc=False):
    specversion: str
    datacontenttype: str | None = None
    time: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_base64: str | None = None


_envelope = msgspec.json.Decoder(_Envelope)
_text = msgspec.json.Decoder(str)


def sniff(payload: bytes) -> bool:
    """An object with `specversion`."""
    return has_keys(payload, "specversion")


def open_envelope(payload: bytes) -> Event:
    """What is inside. Raises DecodeError."""
    envelope = parse_json(_envelope, payload, "a CloudEvent")
    inside = _inside(envelope)
    if sniff(inside):
        raise DecodeError("a CloudEvent inside a CloudEvent; send the inner one", reason="nesting")
    return Event(inside, envelope.datacontenttype, envelope.time)


def at_time(context: Context, time: str | None) -> Context:
    """The context where the event says when it was. Raises DecodeError."""
    return context._replace(arrived=millis_of(time, context.window)) if time else context


def millis_of(time: str, window: TimeWindow) -> int:
    """When the event was, ms. Raises DecodeError where that is no time, or outside of the message's window."""
    millis = to_millis(time)
    window.check(millis)
    return millis


def _inside(envelope: _Envelope) -> bytes:
    if envelope.data_base64 is not None:
        try:
            return base64.b64decode(envelope.data_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DecodeError(f"data_base64: {error}", reason="syntax") from error
    data = bytes(envelope.data)
    if data == b"null":
        raise DecodeError("a CloudEvent without data", reason="empty")
    # JSON is itself; a text is the message, whatever its type is said to be.
    return parse_json(_text, data, "a text").encode() if data.startswith(b'"') else data
