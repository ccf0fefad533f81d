"""What OpenTelemetry metrics mean here, for protobuf and JSON alike: the walk from a request to samples.

Labels are a point's attributes; then the resource's under their own names, without `telemetry.*` (it says how was
measured, not what); then the scope's name as `otel.scope.name` and its attributes as `otel.scope.<name>`. Of two that
are called alike the point's counts, then the resource's.

| data | series, of kind |
|---|---|
| gauge, non-monotonic cumulative sum | the metric's name, gauge |
| monotonic cumulative sum | the name, counter |
| any delta sum | the name, delta |
| histogram, exponential histogram | `_count`, `_sum` (counter or delta), `_bucket` with `le` (bucket or delta_bucket) |
| summary | `_count`, `_sum` (counter), the name with `quantile` (gauge) |

"No recorded value" (`flags & 1`) ends the series, as Prometheus' staleness marker does. What `startTimeUnixNano` tells
is said in `pipeline.ingest.rows`.
"""

from __future__ import annotations

import base64
from collections import Counter
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.formats.buckets import Cumulative, Exponential, bound_text, explicit, exponential
from pipeline.ingest.naming import comes_twice
from pipeline.ingest.rows import Column, Named, Rows, ended
from pipeline.ingest.scan.exponential import NOTHING, Buckets, Zero
from pipeline.series import STALE, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from pipeline.ingest.limits import Limits
    from pipeline.ingest.points import Context, Points

    Alone: TypeAlias = Callable[["Place"], bytes]
    Learn: TypeAlias = Callable[["Place", Sequence[int]], None]
    Read: TypeAlias = Callable[["Place"], Any]
    Columns: TypeAlias = Sequence["Column"]

DELTA: Final = 1
CUMULATIVE: Final = 2
_TEMPORALITIES: Final = {"AGGREGATION_TEMPORALITY_DELTA": DELTA, "AGGREGATION_TEMPORALITY_CUMULATIVE": CUMULATIVE}
_NO_VALUE: Final = 1
_NS: Final = 1_000_000
_LEVELS: Final = ("resourceMetrics", "scopeMetrics", "metrics", "dataPoints")
_UNSAID: Final = "telemetry."
_SCOPE: Final = "otel.scope."
_COUNTS: Final = (Kind.COUNTER, Kind.BUCKET)


class Place(NamedTuple):
    """What is looked at, and the messages around it (generated ones, or structs of the same shape)."""

    path: tuple[int, ...]
    """Places of the messages around it, and its own, from the outermost on: a request's resources, scopes, metrics,
    points."""
    held: Any
    """As the message around it holds it, which need not be read yet."""
    resource: Any = None
    scope: Any = None
    metric: Any = None
    data: str = ""
    """Which of the metric's data it is, of a point: gauge, sum, histogram, exponential_histogram, summary."""

    @property
    def position(self) -> str:
        """The path as people point at it."""
        return ".".join(f"{name}[{place}]" for name, place in zip(_LEVELS, self.path, strict=False))


class _Walk:
    """Takes the points of one request."""

    def __init__(self, context: Context, alone: Alone, learn: Learn | None, read: Read) -> None:
        self.rows = Rows(context, learned=learn is not None)
        self._context = context
        self._limits = context.catalog.limits
        self._alone = alone
        self._learn = learn
        self._read = read

    def resource(self, place: Place) -> None:
        """Take what one resource measured."""
        try:
            one = self._read(place)
            attributes = labels_of(one.resource.attributes, self._limits)
        except DecodeError as error:
            self._refuse(place, error)
            return
        around = {name: text for name, text in attributes.items() if not name.startswith(_UNSAID)}
        for number, scoped in enumerate(one.scope_metrics):
            self._scope(Place((*place.path, number), scoped, one.resource), around)

    def _scope(self, place: Place, around: dict[str, str]) -> None:
        try:
            one = self._read(place)
            around = {**scope_labels(one.scope, self._limits), **around}
        except DecodeError as error:
            self._refuse(place, error)
            return
        for number, metric in enumerate(one.metrics):
            self._metric(Place((*place.path, number), metric, place.resource, one.scope), around)

    def _metric(self, place: Place, around: dict[str, str]) -> None:
        try:
            metric = self._read(place)
        except DecodeError as error:
            self._refuse(place, error)
            return
        data = metric.WhichOneof("data")
        if data is None:
            return
        for number, held in enumerate(getattr(metric, data).data_points):
            point = Place((*place.path, number), held, place.resource, place.scope, metric, data)
            try:
                self._point(point, around)
            except DecodeError as error:
                self._refuse(point, error)
            self.rows.check_series()

    def _refuse(self, place: Place, error: DecodeError) -> None:
        self.rows.refuse(self._alone(place), place.position, error)

    def _point(self, place: Place, around: dict[str, str]) -> None:
        point, metric = self._read(place), place.metric
        ts = point.time_unix_nano // _NS
        self.rows.check_time(ts)
        columns = _READERS[place.data](getattr(metric, place.data), point)
        labels = {**around, **labels_of(point.attributes, self._limits)}
        start = point.start_time_unix_nano // _NS
        if point.flags & _NO_VALUE:
            columns, start = ended(columns), 0
        series = self.rows.add_point(Named(metric.name, labels, metric.unit), columns, ts, start)
        if self._learn is not None and self._context.catalog.is_told(labels, self._context.key):
            self._learn(place, series)


def walk(
    resource_metrics: Iterable[Any],
    context: Context,
    alone: Alone,
    *,
    learn: Learn | None = None,
    read: Read = attrgetter("held"),
) -> Points:
    """Samples of a request; what of it cannot be taken is refused alone: a resource, a scope, a metric or a point.

    `alone` gives the bytes of a request with nothing else in it; `learn` is told which series a point gives, where the
    labels alone tell it; `read` gives the message at a place that is not read yet, or raises DecodeError.
    """
    walking = _Walk(context, alone, learn, read)
    for number, one in enumerate(resource_metrics):
        walking.resource(Place((number,), one))
    return walking.rows.points()


def scope_labels(scope: Any, limits: Limits) -> dict[str, str]:
    """Labels of an instrumentation scope."""
    labels = {_SCOPE + name: text for name, text in labels_of(scope.attributes, limits).items()}
    return {**labels, f"{_SCOPE}name": scope.name} if scope.name else labels


def labels_of(attributes: Sequence[Any], limits: Limits) -> dict[str, str]:
    """Attributes as texts; lists and maps as JSON, bytes as base64, an empty value as the empty text.

    Raises DecodeError (reason `labels`) where one comes twice, in a map inside as well.
    """
    labels = {one.key: _text(one.value, limits) for one in attributes}
    _check_all_differ(labels, attributes)
    return labels


def _check_all_differ(by_key: Mapping[str, Any], pairs: Sequence[Any]) -> None:
    if len(by_key) < len(pairs):
        (name, _), *_ = Counter(one.key for one in pairs).most_common(1)
        raise comes_twice(name)


def _text(value: Any, limits: Limits) -> str:
    which = value.WhichOneof("value")
    if which == "string_value":
        text: str = value.string_value
        return text
    plain = _plain(value, which, limits, 1)
    if isinstance(plain, bool | list | dict):
        return msgspec.json.encode(plain).decode()
    return "" if plain is None else str(plain)


def _plain(value: Any, which: str | None, limits: Limits, depth: int) -> Any:
    limits.check_nesting(depth)
    if which is None:
        return None
    held = getattr(value, which)
    if which == "array_value":
        return [_plain(one, one.WhichOneof("value"), limits, depth + 1) for one in held.values]
    if which == "kvlist_value":
        pairs = {one.key: _plain(one.value, one.value.WhichOneof("value"), limits, depth + 1) for one in held.values}
        _check_all_differ(pairs, held.values)
        return pairs
    return base64.b64encode(held).decode() if isinstance(held, bytes) else held


def number_kind(data: Any) -> Kind:
    """Kind of the points of a sum. Raises DecodeError (reason `fields`) where it does not say its temporality."""
    temporality = _temporality(data)
    if temporality == DELTA:
        return Kind.DELTA
    return Kind.COUNTER if data.is_monotonic else Kind.GAUGE


def _temporality(data: Any) -> int:
    said = data.aggregation_temporality
    temporality = _TEMPORALITIES.get(said, said)
    if temporality not in (DELTA, CUMULATIVE):
        raise DecodeError(f"aggregation temporality {said!r} is neither delta (1) nor cumulative (2)", reason="fields")
    return int(temporality)


def _gauge(data: Any, point: Any) -> Columns:  # noqa: ARG001  one signature for all readers
    return (Column("", Kind.GAUGE, (_number(point),)),)


def _sum(data: Any, point: Any) -> Columns:
    return (Column("", number_kind(data), (_number(point),)),)


def _number(point: Any) -> float:
    which = point.WhichOneof("value")
    if which is None:
        if point.flags & _NO_VALUE:
            return float(STALE)
        raise DecodeError("a point without a value", reason="fields")
    return float(getattr(point, which))


def _histogram(data: Any, point: Any) -> Columns:
    if point.bucket_counts:
        _check_total(point, sum(point.bucket_counts))
    buckets = explicit(point.explicit_bounds, point.bucket_counts, float(point.count))
    return _distribution(_temporality(data), point, buckets)


def _exponential(data: Any, point: Any) -> Columns:
    temporality = _temporality(data)
    in_buckets = sum(point.positive.bucket_counts) + sum(point.negative.bucket_counts) + point.zero_count
    _check_total(point, in_buckets)
    histogram = Exponential(
        point.scale,
        Zero(point.zero_threshold, float(point.zero_count)),
        _buckets(point.positive),
        _buckets(point.negative),
        float(point.count),
    )
    return _distribution(temporality, point, exponential(histogram, delta=temporality == DELTA))


def _check_total(point: Any, in_buckets: int) -> None:
    """Raises DecodeError (reason `fields`) where buckets hold other than the point counts, which metrics.proto demands.

    A point of no value has nothing to count.
    """
    if in_buckets != point.count and not point.flags & _NO_VALUE:
        raise DecodeError(
            f"the buckets of a histogram hold {in_buckets} observations, its count says {point.count}", reason="fields"
        )


def _buckets(buckets: Any) -> Buckets:
    if not buckets.bucket_counts:
        return NOTHING
    counts = np.array(list(buckets.bucket_counts), dtype=np.float64)
    return Buckets(np.arange(buckets.offset, buckets.offset + len(counts), dtype=np.int64), counts)


def _distribution(temporality: int, point: Any, buckets: Cumulative) -> Columns:
    count, bucket = (Kind.DELTA, Kind.DELTA_BUCKET) if temporality == DELTA else _COUNTS
    columns = [Column("_count", count, (float(point.count),))]
    if point.HasField("sum"):
        columns.append(Column("_sum", count, (point.sum,)))
    return [*columns, Column("_bucket", bucket, buckets.below, "le", buckets.le)]


def _summary(data: Any, point: Any) -> Columns:  # noqa: ARG001
    quantiles = point.quantile_values
    columns = [Column("_count", Kind.COUNTER, (float(point.count),)), Column("_sum", Kind.COUNTER, (point.sum,))]
    values, texts = [one.value for one in quantiles], [bound_text(one.quantile) for one in quantiles]
    return [*columns, Column("", Kind.GAUGE, values, "quantile", texts)]


_READERS: Final[dict[str, Callable[[Any, Any], Columns]]] = {
    "gauge": _gauge,
    "sum": _sum,
    "histogram": _histogram,
    "exponential_histogram": _exponential,
    "summary": _summary,
}
