"""Telegraf's `json` data format: one metric, or many as `{"metrics": […]}`.

    {"name": "mem", "tags": {"host": "web-1"}, "fields": {"free": 23342170112, "available_percent": 96.19},
     "timestamp": 1767225600}

Series are named as those of the line protocol are. The unit of `timestamp` is told by its magnitude. Metrics stand
alone, and so does a field that cannot be read (a number beyond all floats): a bad one does not touch its neighbours.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import DecodeError
from pipeline.ingest.formats.influx import series_name
from pipeline.ingest.gathering import Gathering, Part, gather_points
from pipeline.ingest.parsing import has_keys, parse_json
from pipeline.ingest.timestamps import to_millis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.ingest.points import Context, Points

CONTENT_TYPES = ("application/vnd.telegraf+json",)


class _Metric(msgspec.Struct, gc=False):
    name: str
    fields: dict[str, float | bool | str | None]
    timestamp: int | float | str
    tags: dict[str, str] | None = None


class _Unread(msgspec.Struct, gc=False):
    """A metric whose fields are looked at one by one."""

    name: str
    fields: dict[str, msgspec.Raw]
    timestamp: msgspec.Raw
    tags: msgspec.Raw = msgspec.Raw(b"null")


class _Batch(msgspec.Struct, gc=False):
    metrics: list[msgspec.Raw]


_WHAT = "a Telegraf metric"
_metric = msgspec.json.Decoder(_Metric)
_unread = msgspec.json.Decoder(_Unread)
_value = msgspec.json.Decoder(float | bool | str | None)
_encoder = msgspec.json.Encoder()
_batch = msgspec.json.Decoder(_Batch)


def sniff(payload: bytes) -> bool:
    """An object with `fields`, or with `metrics`."""
    return has_keys(payload, "fields") or has_keys(payload, "metrics")


def decode(payload: bytes, context: Context) -> Points:
    """Columns of samples; bad metrics of a batch are refused, each with its place. Raises DecodeError."""
    gathered = Gathering(context)
    take = partial(_take, context, gathered)
    if not has_keys(payload, "metrics"):
        for part in take(payload):
            gathered.refuse(*part)
        return gathered.points()
    metrics = parse_json(_batch, payload, "a batch of Telegraf metrics").metrics
    gather_points(metrics, gathered, take, b'{"metrics":[%s]}', "metrics[%d]")
    return gathered.points()


def _take(context: Context, gathered: Gathering, payload: bytes) -> Sequence[Part]:
    """Gather the samples of this metric; its fields that cannot be read. Raises DecodeError."""
    metric, bad = _read(payload)
    ts = to_millis(metric.timestamp)
    context.window.check(ts)
    context.catalog.limits.check_series(sum(1 for _ in _numbers(metric)))
    known = array("q")
    for field, _ in _numbers(metric):
        name = series_name(metric.name, field)
        known.append(context.catalog.intern(name, metric.tags or {}, context.key, None, None))
    for series, (_, value) in zip(known, _numbers(metric), strict=True):
        gathered.add(series, ts, value)
    return bad


def _numbers(metric: _Metric) -> Iterator[tuple[str, float]]:
    """The fields that are numbers; many of them are not to be held once more."""
    return ((field, value) for field, value in metric.fields.items() if isinstance(value, int | float))


def _read(payload: bytes) -> tuple[_Metric, Sequence[Part]]:
    """A metric, and those of its fields that cannot be read, if there are others. Raises DecodeError."""
    try:
        return parse_json(_metric, payload, _WHAT), ()
    except DecodeError:
        whole = parse_json(_unread, payload, _WHAT)
        bad = _bad_fields(whole.fields)
        if len(bad) in (0, len(whole.fields)):
            raise
    parts = [
        Part(_encoder.encode(msgspec.structs.replace(whole, fields={name: whole.fields[name]})), f"fields.{name}", why)
        for name, why in bad.items()
    ]
    good = {name: value for name, value in whole.fields.items() if name not in bad}
    return parse_json(_metric, _encoder.encode(msgspec.structs.replace(whole, fields=good)), _WHAT), parts


def _bad_fields(fields: Mapping[str, msgspec.Raw]) -> dict[str, DecodeError]:
    bad = {}
    for name, value in fields.items():
        try:
            parse_json(_value, value, f"a value of field {name[:40]!r}")
        except DecodeError as error:
            bad[name] = error
    return bad
