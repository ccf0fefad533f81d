"""Vector's metrics as JSON: an event of its `json` codec, or of `native_json`, which wraps it in `{"metric": …}`.

    {"metric": {"name": "requests", "namespace": "web", "tags": {"service": "api"}, "kind": "incremental",
                "timestamp": "2026-01-01T00:00:00Z", "counter": {"value": 17.0}}}

The series is `namespace_name`. `incremental` counts are deltas, `absolute` ones counters. Buckets come with the count
of each alone and leave cumulative, as Prometheus has them; a distribution is counted into the buckets that Vector's own
Prometheus exporter uses, or, where it asks for a summary, told by its quantiles; a set is told by its size. An
incremental gauge says no level, and is refused.

Source: vector.dev/docs/architecture/data-model/metric, and vector's lib/vector-core/src/event/metric/value.rs.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.formats.buckets import Cumulative, bound_text, explicit
from pipeline.ingest.formats.numerals import to_float
from pipeline.ingest.gathering import gather_points
from pipeline.ingest.parsing import has_keys, parse_json
from pipeline.ingest.rows import Column, Named, Rows
from pipeline.ingest.timestamps import to_millis
from pipeline.series import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.ingest.points import Context, Points

CONTENT_TYPES = ("application/vnd.vector.metric+json", "application/vnd.vector.native+json")

_WRAPPED = re.compile(rb'\s*+\[?\s*+\{\s*+"(?:metric|log|trace)"\s*+:\s*+\{')
_ARRAY = re.compile(rb"\s*+\[\s*+\{")
_DEFAULT_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DEFAULT_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)

Number = float | str
"""Vector writes what JSON has no number for as `NaN`, `inf` and `-inf`."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Value(msgspec.Struct, gc=False):
    value: Number


class _Set(msgspec.Struct, gc=False):
    values: list[str]


class _Observation(msgspec.Struct, gc=False):
    value: Number
    rate: Count


class _Distribution(msgspec.Struct, gc=False):
    samples: list[_Observation]
    statistic: Literal["histogram", "summary"] = "histogram"


class _Bucket(msgspec.Struct, gc=False):
    upper_limit: Number
    count: Count


class _Histogram(msgspec.Struct, gc=False):
    buckets: list[_Bucket]
    count: Count
    sum: Number


class _Quantile(msgspec.Struct, gc=False):
    quantile: Number
    value: Number


class _Summary(msgspec.Struct, gc=False):
    quantiles: list[_Quantile]
    count: Count
    sum: Number


class _Metric(msgspec.Struct, gc=False):
    name: str
    kind: Literal["incremental", "absolute"]
    namespace: str | None = None
    tags: dict[str, str | list[str | None] | None] | None = None
    timestamp: str | float | None = None
    counter: _Value | None = None
    gauge: _Value | None = None
    set: _Set | None = None
    distribution: _Distribution | None = None
    aggregated_histogram: _Histogram | None = None
    aggregated_summary: _Summary | None = None
    sketch: dict[str, msgspec.Raw] | None = None


class _Event(msgspec.Struct, gc=False):
    metric: _Metric | None = None


def _columns(metric: _Metric) -> Iterator[Column]:
    """The series that this metric stands for. Raises DecodeError."""
    counts = Kind.COUNTER if metric.kind == "absolute" else Kind.DELTA
    if metric.counter is not None:
        yield Column("", counts, (_number(metric.counter.value),))
    elif metric.gauge is not None:
        if metric.kind == "incremental":
            raise DecodeError("an incremental gauge says no level; send it as absolute", reason="kind")
        yield Column("", Kind.GAUGE, (_number(metric.gauge.value),))
    elif metric.set is not None:
        yield Column("", Kind.GAUGE, (float(len(set(metric.set.values))),))
    elif metric.distribution is not None:
        yield from _distribution(metric.distribution, counts)
    elif metric.aggregated_histogram is not None:
        yield from _histogram(metric.aggregated_histogram, counts)
    elif metric.aggregated_summary is not None:
        yield from _summary(metric.aggregated_summary, counts)
    elif metric.sketch is not None:
        raise DecodeError("sketches are not read; distributions and aggregated summaries are", reason="fields")
    else:
        raise DecodeError("no counter, gauge, set, distribution, aggregated histogram or summary", reason="fields")


def _distribution(distribution: _Distribution, counts: Kind) -> Iterator[Column]:
    value = np.array([_number(one.value) for one in distribution.samples], dtype=np.float64)
    rate = np.array([float(one.rate) for one in distribution.samples], dtype=np.float64)
    yield Column("_count", counts, (float(rate.sum()),))
    yield Column("_sum", counts, (float(value @ rate),))
    if distribution.statistic == "histogram":
        below = [float(rate[value <= bound].sum()) for bound in _DEFAULT_BOUNDS]
        le = (*map(bound_text, _DEFAULT_BOUNDS), "+Inf")
        yield _buckets(Cumulative(le, (*below, float(rate.sum()))), counts)
    elif rate.sum() > 0:
        order = np.argsort(value, kind="stable")
        reached = np.cumsum(rate[order])
        places = np.searchsorted(reached, np.multiply(_DEFAULT_QUANTILES, reached[-1]))
        values = value[order][np.minimum(places, len(order) - 1)].tolist()
        yield Column("", Kind.GAUGE, values, "quantile", tuple(map(bound_text, _DEFAULT_QUANTILES)))


def _histogram(histogram: _Histogram, counts: Kind) -> Iterator[Column]:
    yield Column("_count", counts, (float(histogram.count),))
    yield Column("_sum", counts, (_number(histogram.sum),))
    buckets = sorted((_number(bucket.upper_limit), bucket.count) for bucket in histogram.buckets)
    bounds, each = [bound for bound, _ in buckets], [float(count) for _, count in buckets]
    if bounds and bounds[-1] == np.inf:
        bounds.pop()
    else:
        each.append(0.0)  # those beyond the last bound, which only the total tells
    if sum(each) > histogram.count:
        raise DecodeError(
            f"the buckets of a histogram hold {sum(each):.0f} observations, its count says {histogram.count}",
            reason="fields",
        )
    yield _buckets(explicit(bounds, each, float(histogram.count)), counts)


def _buckets(buckets: Cumulative, counts: Kind) -> Column:
    kind = Kind.BUCKET if counts is Kind.COUNTER else Kind.DELTA_BUCKET
    return Column("_bucket", kind, buckets.below, "le", buckets.le)


def _summary(summary: _Summary, counts: Kind) -> Iterator[Column]:
    yield Column("_count", counts, (float(summary.count),))
    yield Column("_sum", counts, (_number(summary.sum),))
    quantiles = [_number(one.quantile) for one in summary.quantiles]
    for quantile in quantiles:
        if not 0 <= quantile <= 1:
            raise DecodeError(f"a quantile {quantile} is not between 0 and 1", reason="fields")
    values = [_number(one.value) for one in summary.quantiles]
    yield Column("", Kind.GAUGE, values, "quantile", [*map(bound_text, quantiles)])


def _number(value: Number) -> float:
    return to_float(value) if isinstance(value, str) else value


_metric = msgspec.json.Decoder(_Metric)
_event = msgspec.json.Decoder(_Event)
_many = msgspec.json.Decoder(list[msgspec.Raw])


def sniff(payload: bytes) -> bool:
    """A wrapped metric, or an object with `name`, `kind` and no `value`; or an array of such."""
    if _WRAPPED.match(payload) is not None:
        return True
    first = _first(payload)
    return has_keys(first, "name", "kind") and not has_keys(first, "value")


def _first(payload: bytes) -> bytes:
    """The first element of an array; anything else as it is."""
    if _ARRAY.match(payload) is None or b'"kind"' not in payload:
        return payload
    try:
        return bytes(next(iter(_many.decode(payload)), b""))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return payload


def decode(payload: bytes, context: Context) -> Points:
    """Columns of samples; bad metrics of an array are refused, each with its place. Raises DecodeError."""
    rows = Rows(context)
    if not payload.lstrip().startswith(b"["):
        _take(context, rows, payload)
        return rows.points()
    events = parse_json(_many, payload, "a list of Vector metrics")
    gather_points(events, rows, partial(_take, context, rows), b"[%s]", "[%d]")
    return rows.points()


def _take(context: Context, rows: Rows, payload: bytes) -> None:
    """Gather the samples of this metric. Raises DecodeError."""
    metric = _read(payload)
    ts = context.arrived if metric.timestamp is None else to_millis(metric.timestamp)
    context.window.check(ts)
    name = f"{metric.namespace}_{metric.name}" if metric.namespace else metric.name
    tags = {tag: _tag(value) for tag, value in (metric.tags or {}).items()}
    rows.add_point(Named(name, tags, None), [*_columns(metric)], ts, 0)


def _read(payload: bytes) -> _Metric:
    if not _WRAPPED.match(payload):
        return parse_json(_metric, payload, "a Vector metric")
    metric = parse_json(_event, payload, "a Vector event").metric
    if metric is None:
        raise DecodeError("a log or a trace, no metric", reason="fields")
    return metric


def _tag(value: str | list[str | None] | None) -> str:
    """A tag may have many values, or none; the last one counts, as in Vector's own sinks."""
    if isinstance(value, list):
        value = next((one for one in reversed(value) if one is not None), None)
    return value or ""
