"""OTLP JSON: the same request as protobuf JSON, camelCase keys, 64-bit integers as texts (Collector: `otlp_json`).

The structs have the names and the two methods of the generated messages that `otlp` asks for, so one walk serves both.
What stands alone stays bytes until the walk is at it: a point, a metric, a scope or a resource of a wrong type is
refused alone. Snake case, which protobuf's JSON would take too, no producer is known to send.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from pipeline.ingest.formats.otlp import walk
from pipeline.ingest.parsing import parse_json

if TYPE_CHECKING:
    from pipeline.ingest.formats.otlp import Place
    from pipeline.ingest.points import Context, Points

CONTENT_TYPES = ("application/vnd.duri.otlp+json",)

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""Nothing of 64 bits counts or tells a time further; what is no such number must not get as far as a float."""
Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Index = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]

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
    int_value: Integer | None = None
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
    time_unix_nano: Count = 0
    start_time_unix_nano: Count = 0
    attributes: list[_Attribute] = []
    flags: Count = 0


class _Number(_Point):
    as_double: float | None = None
    as_int: Integer | None = None


class _Histogram(_Point):
    count: Count = 0
    sum: float | None = None
    bucket_counts: list[Count] = []
    explicit_bounds: list[float] = []


class _Buckets(_Message):
    offset: Index = 0
    bucket_counts: list[Count] = []


class _Exponential(_Point):
    count: Count = 0
    sum: float | None = None
    scale: Index = 0
    zero_count: Count = 0
    zero_threshold: float = 0.0
    positive: _Buckets = msgspec.field(default_factory=_Buckets)
    negative: _Buckets = msgspec.field(default_factory=_Buckets)


class _Quantile(_Message):
    quantile: float = 0.0
    value: float = 0.0


class _Summary(_Point):
    count: Count = 0
    sum: float = 0.0
    quantile_values: list[_Quantile] = []


class _Data(_Message):
    aggregation_temporality: int | str = 0
    is_monotonic: bool = False
    data_points: list[msgspec.Raw] = []


class _Metric(_Message):
    name: str = ""
    unit: str = ""
    gauge: _Data | None = None
    sum: _Data | None = None
    histogram: _Data | None = None
    exponential_histogram: _Data | None = None
    summary: _Data | None = None


class _ScopeMetrics(_Message):
    scope: _Scope = msgspec.field(default_factory=_Scope)
    metrics: list[msgspec.Raw] = []


class _ResourceMetrics(_Message):
    resource: _Resource = msgspec.field(default_factory=_Resource)
    scope_metrics: list[msgspec.Raw] = []


class _Request(_Message):
    resource_metrics: list[msgspec.Raw] = []


_ONE_OF = frozenset(
    {
        *(field.name for field in msgspec.structs.fields(_Value)),
        *("as_double", "as_int"),
        *("gauge", "sum", "histogram", "exponential_histogram", "summary"),
    }
)
# Numbers may come as texts, as protobuf's JSON has 64-bit integers, NaN and Infinity.
_request = msgspec.json.Decoder(_Request, strict=False)
_inside: Final[dict[str | int, msgspec.json.Decoder[Any]]] = {
    what: msgspec.json.Decoder(message, strict=False)
    for what, message in (
        (1, _ResourceMetrics),
        (2, _ScopeMetrics),
        (3, _Metric),
        ("gauge", _Number),
        ("sum", _Number),
        ("histogram", _Histogram),
        ("exponential_histogram", _Exponential),
        ("summary", _Summary),
    )
}
"""By the length of the path, or by a point's data."""
_NAMES: Final = {1: "a resource's metrics", 2: "a scope's metrics", 3: "a metric"}
_encoder = msgspec.json.Encoder()


def sniff(payload: bytes) -> bool:
    """A JSON object whose first key is `resourceMetrics`."""
    return _START.match(payload) is not None


def decode(payload: bytes, context: Context) -> Points:
    """Samples of a request. Raises DecodeError."""
    request = parse_json(_request, payload, "an OTLP metrics request")
    return walk(request.resource_metrics, context, alone, read=_read)


def _read(place: Place) -> _Message:
    """The message that is still bytes. Raises DecodeError."""
    name = _NAMES.get(len(place.path), f"a data point of a {place.data}")
    message: _Message = parse_json(_inside[place.data or len(place.path)], place.held, name)
    return message


def alone(place: Place) -> bytes:
    """A request with this only, in what it stood in."""
    held: Any = place.held
    if place.data:
        data = msgspec.structs.replace(getattr(place.metric, place.data), data_points=[held])
        fields: dict[str, Any] = {"name": place.metric.name, "unit": place.metric.unit, place.data: data}
        held = _Metric(**fields)
    if place.scope is not None:
        held = _ScopeMetrics(scope=place.scope, metrics=[held])
    if place.resource is not None:
        held = _ResourceMetrics(place.resource, [held])
    return _encoder.encode(_Request([held]))
