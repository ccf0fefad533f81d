"""OTLP JSON: the same request as protobuf JSON, camelCase keys, 64-bit integers as texts (Collector: `otlp_json`).

The structs have the names and the two methods of the generated messages that `pipeline.ingest.otlp` asks for, so one
walk serves both. Snake case, which protobuf's JSON would take too, no producer is known to send.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.ingest.otlp import walk
from pipeline.ingest.parsing import parse_json

if TYPE_CHECKING:
    from pipeline.ingest.otlp import Place
    from pipeline.ingest.points import Context, Points

CONTENT_TYPES = ("application/vnd.duri.otlp+json",)

_START = re.compile(rb'\s*\{\s*"resourceMetrics"\s*:')


class _Message(msgspec.Struct, gc=False, rename="camel", omit_defaults=True):
    """A struct that answers as a generated message does."""

    def HasField(self, name: str) -> bool:  # noqa: N802  protobuf's name
        """Whether an optional field is there."""
        return getattr(self, name) is not None

    def WhichOneof(self, group: str) -> str | None:  # noqa: ARG002, N802  protobuf's name and signature
        """Which of the fields that exclude each other is there."""
        return next((name for name in self.__struct_fields__ if name in _ONE_OF and self.HasField(name)), None)


class _Value(_Message):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | None = None
    double_value: float | None = None
    array_value: _Values | None = None
    kvlist_value: _Attributes | None = None
    bytes_value: str | None = None


class _Values(_Message):
    values: list[_Value] = []


class _Attribute(_Message):
    key: str = ""
    value: _Value = msgspec.field(default_factory=_Value)


class _Attributes(_Message):
    values: list[_Attribute] = []


class _Resource(_Message):
    attributes: list[_Attribute] = []


class _Scope(_Message):
    name: str = ""
    attributes: list[_Attribute] = []


class _Point(_Message):
    time_unix_nano: int = 0
    start_time_unix_nano: int = 0
    attributes: list[_Attribute] = []
    flags: int = 0


class _Number(_Point):
    as_double: float | None = None
    as_int: int | None = None


class _Histogram(_Point):
    count: int = 0
    sum: float | None = None
    bucket_counts: list[int] = []
    explicit_bounds: list[float] = []


class _Buckets(_Message):
    offset: int = 0
    bucket_counts: list[int] = []


class _Exponential(_Point):
    count: int = 0
    sum: float | None = None
    scale: int = 0
    zero_count: int = 0
    zero_threshold: float = 0.0
    positive: _Buckets = msgspec.field(default_factory=_Buckets)
    negative: _Buckets = msgspec.field(default_factory=_Buckets)


class _Quantile(_Message):
    quantile: float = 0.0
    value: float = 0.0


class _Summary(_Point):
    count: int = 0
    sum: float = 0.0
    quantile_values: list[_Quantile] = []


class _Data(_Message):
    aggregation_temporality: int | str = 0
    is_monotonic: bool = False


class _Gauge(_Data):
    data_points: list[_Number] = []


class _HistogramData(_Data):
    data_points: list[_Histogram] = []


class _ExponentialData(_Data):
    data_points: list[_Exponential] = []


class _SummaryData(_Data):
    data_points: list[_Summary] = []


class _Metric(_Message):
    name: str = ""
    unit: str = ""
    gauge: _Gauge | None = None
    sum: _Gauge | None = None
    histogram: _HistogramData | None = None
    exponential_histogram: _ExponentialData | None = None
    summary: _SummaryData | None = None


class _ScopeMetrics(_Message):
    scope: _Scope = msgspec.field(default_factory=_Scope)
    metrics: list[_Metric] = []


class _ResourceMetrics(_Message):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_metrics: list[_ScopeMetrics] = []


class _Request(_Message):
    resource_metrics: list[_ResourceMetrics] = []


_ONE_OF = frozenset(
    {
        *(field.name for field in msgspec.structs.fields(_Value)),
        *("as_double", "as_int"),
        *("gauge", "sum", "histogram", "exponential_histogram", "summary"),
    }
)
# Numbers may come as texts, as protobuf's JSON has 64-bit integers, NaN and Infinity.
_request = msgspec.json.Decoder(_Request, strict=False)
_encoder = msgspec.json.Encoder()


def sniff(payload: bytes) -> bool:
    """A JSON object whose first key is `resourceMetrics`."""
    return _START.match(payload) is not None


def decode(payload: bytes, context: Context) -> Points:
    """Samples of a request. Raises DecodeError."""
    return walk(parse_json(_request, payload, "an OTLP metrics request").resource_metrics, context, alone)


def alone(place: Place) -> bytes:
    """A request with one point only."""
    data = msgspec.structs.replace(getattr(place.metric, place.data), data_points=[place.point])
    fields: dict[str, Any] = {"name": place.metric.name, "unit": place.metric.unit, place.data: data}
    scoped = _ScopeMetrics(scope=place.scope, metrics=[_Metric(**fields)])
    return _encoder.encode(_Request([_ResourceMetrics(place.resource, [scoped])]))
