"""JSON samples: `{"name", "labels", "ts", "value"}`, one a message, or an array of them, which stand alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import DecodeError
from pipeline.ingest.gathering import Gathering, gather_points
from pipeline.ingest.parsing import has_keys, parse_json
from pipeline.ingest.points import Points
from pipeline.ingest.timestamps import to_millis

if TYPE_CHECKING:
    from pipeline.ingest.points import Context

CONTENT_TYPES = ("application/vnd.duri.sample+json", "application/vnd.duri.samples+json")


class _Sample(msgspec.Struct, gc=False):
    name: str
    ts: int | float | str
    value: float
    labels: msgspec.Raw = msgspec.Raw(b"{}")
    kind: str | None = None
    unit: str | None = None


_one = msgspec.json.Decoder(_Sample)
_many = msgspec.json.Decoder(list[msgspec.Raw])

_FIRST_KEY = "which is told by its first key: let that come first, or name the format (content-type, or the topic's)"
_OF_OTHERS = {
    "resourceMetrics": f"OTLP JSON, {_FIRST_KEY}",
    "resource_metrics": "OTLP JSON, of which camelCase is read (`resourceMetrics`)",
    "series": f"columnar JSON, {_FIRST_KEY}",
    "metrics": "Telegraf JSON: name that format (content-type, or the topic's)",
}

_MILLIS_FROM, _MILLIS_BELOW = 10**11, 10**14


def sniff(payload: bytes) -> bool:
    """JSON objects and arrays."""
    return payload.lstrip()[:1] in (b"{", b"[")


def decode(payload: bytes, context: Context) -> Points:
    """One sample or an array of them; bad ones of an array are refused, each with its place. Raises DecodeError."""
    if payload[:1] != b"{" and payload.lstrip()[:1] == b"[":
        gathered = Gathering(context)
        samples = parse_json(_many, payload, "a list of JSON samples")
        gather_points(samples, gathered, partial(_take, context, gathered), b"[%s]", "[%d]")
        return gathered.points()
    try:
        sample = parse_json(_one, payload, "a JSON sample")
    except DecodeError as error:
        raise _told_of_others(payload, error) from error
    return Points((_series(sample, context),), (_millis(sample.ts),), (sample.value,))


def _told_of_others(payload: bytes, error: DecodeError) -> DecodeError:
    """The refusal of what is no sample: any object may be taken for one that no other format knows."""
    for key, told in _OF_OTHERS.items():
        if has_keys(payload, key):
            return DecodeError(f"{error}; its key `{key}` is of {told}", reason=error.reason)
    return error


def _take(context: Context, gathered: Gathering, payload: bytes) -> None:
    """Gather this sample of an array. Raises DecodeError."""
    sample = parse_json(_one, payload, "a JSON sample")
    ts = _millis(sample.ts)
    context.window.check(ts)
    gathered.add(_series(sample, context), ts, sample.value)


def _series(sample: _Sample, context: Context) -> int:
    return context.catalog.intern_raw(sample.name, bytes(sample.labels), context.key, sample.kind, sample.unit)


def _millis(ts: float | str) -> int:
    # Milliseconds, what most producers send, need no look at magnitudes.
    if type(ts) is int and _MILLIS_FROM <= ts < _MILLIS_BELOW:
        return ts
    return to_millis(ts)
