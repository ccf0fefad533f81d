"""Telegraf's `json` data format: one metric, or many as `{"metrics": […]}`.

    {"name": "mem", "tags": {"host": "web-1"}, "fields": {"free": 23342170112, "available_percent": 96.19},
     "timestamp": 1767225600}

Series are named as those of the line protocol are. The unit of `timestamp` is told by its magnitude. Metrics stand
alone: a bad one does not touch its neighbours.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pipeline.ingest.gathering import Gathering, gather_points
from pipeline.ingest.influx import series_name
from pipeline.ingest.parsing import has_keys, parse_json
from pipeline.ingest.timestamps import to_millis

if TYPE_CHECKING:
    from pipeline.ingest.points import Context, Points

CONTENT_TYPES = ("application/vnd.telegraf+json",)


class _Metric(msgspec.Struct, gc=False):
    name: str
    fields: dict[str, float | bool | str | None]
    timestamp: int | float | str
    tags: dict[str, str] | None = None


class _Batch(msgspec.Struct, gc=False):
    metrics: list[msgspec.Raw]


_metric = msgspec.json.Decoder(_Metric)
_batch = msgspec.json.Decoder(_Batch)


def sniff(payload: bytes) -> bool:
    """An object with `fields`, or with `metrics`."""
    return has_keys(payload, "fields") or has_keys(payload, "metrics")


def decode(payload: bytes, context: Context) -> Points:
    """Columns of samples; bad metrics of a batch are refused, each with its place. Raises DecodeError."""
    gathered = Gathering(context)
    if not has_keys(payload, "metrics"):
        _take(context, gathered, payload)
        return gathered.points()
    metrics = parse_json(_batch, payload, "a batch of Telegraf metrics").metrics
    gather_points(metrics, gathered, partial(_take, context, gathered), b'{"metrics":[%s]}', "metrics[%d]")
    return gathered.points()


def _take(context: Context, gathered: Gathering, payload: bytes) -> None:
    """Gather the samples of this metric. Raises DecodeError."""
    metric = parse_json(_metric, payload, "a Telegraf metric")
    ts = to_millis(metric.timestamp)
    context.window.check(ts)
    numbers = {name: float(value) for name, value in metric.fields.items() if isinstance(value, int | float)}
    context.catalog.limits.check_series(len(numbers))
    known = [
        context.catalog.intern(series_name(metric.name, field), metric.tags or {}, context.key, None, None)
        for field in numbers
    ]
    for series, value in zip(known, numbers.values(), strict=True):
        gathered.add(series, ts, value)
