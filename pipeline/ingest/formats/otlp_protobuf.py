"""OTLP protobuf: `ExportMetricsServiceRequest`, what the OpenTelemetry Collector's `kafkaexporter` sends by default.

This is the reference decoder, on generated code; `pipeline.ingest.scan.otlp` reads series that it has met.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError as ProtobufError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ResourceMetrics

from pipeline.errors import DecodeError
from pipeline.ingest.formats.otlp import walk
from pipeline.ingest.formats.raw_otlp import RawRequest
from pipeline.ingest.formats.split import elements, framed
from pipeline.ingest.scan.known import OTLP_HISTOGRAM, OTLP_METRIC, OTLP_NUMBER, OTLP_SCOPE, number_of
from pipeline.ingest.scan.otlp import (
    CODES,
    GAUGE,
    HISTOGRAM,
    HISTOGRAM_ATTRIBUTES,
    NUMBER_ATTRIBUTES,
    SUM,
    metric_code,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.ingest.formats.otlp import Place
    from pipeline.ingest.formats.raw_otlp import Field
    from pipeline.ingest.points import Context, Points

CONTENT_TYPES = (
    "application/x-protobuf;proto=opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest".lower(),
)

_SCANNED: Final = {"gauge": GAUGE, "sum": SUM, "histogram": HISTOGRAM}
_FIRST = 0x0A
_INSIDE = (0x0A, 0x12, 0x1A)
"""Tags that the messages around metrics may open with: their fields 1 to 3."""
_DATA = (0x2A, 0x3A, 0x4A, 0x52, 0x5A, 0x62)
"""Tags of a Metric's data and metadata: the Collector writes the fields of every message from the last to the first."""


def sniff(payload: bytes) -> bool:
    """A ResourceMetrics that holds a resource of attributes, or a scope with metrics, each within its length."""
    end = len(payload)
    at = 0
    for depth in range(3):
        if at + 1 >= end or (payload[at] != _FIRST and (depth == 0 or payload[at] not in _INSIDE)):
            return False
        size, at = _varint(payload, at + 1)
        if at + size > end:
            return False
        if size == 0:
            return depth > 0
        end = at + size
    return depth > 0 and payload[at] in (*_INSIDE, 0x22, *_DATA)


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    """A length, and where what it measures begins."""
    size = shift = 0
    while at < len(payload) and shift < 35:
        size |= (payload[at] & 0x7F) << shift
        shift += 7
        at += 1
        if payload[at - 1] < 0x80:
            return size, at
    return len(payload) + 1, at


def decode(payload: bytes, context: Context) -> Points:
    """Samples of a request. Raises DecodeError."""
    try:
        request = ExportMetricsServiceRequest.FromString(payload)
    except (ProtobufError, UnicodeDecodeError) as error:
        resources = elements(payload, 1)
        if resources is None:
            raise DecodeError(f"not an OTLP metrics request: {error}", reason="syntax") from error
        return walk(resources, context, alone, read=_read)
    return walk(request.resource_metrics, context, alone, learn=_Teacher(context, payload).learn)


def _read(place: Place) -> Any:
    """What is at a place of a request of which a resource cannot be read. Raises DecodeError for that resource."""
    if place.resource is not None:
        return place.held
    try:
        return ResourceMetrics.FromString(place.held)
    except (ProtobufError, UnicodeDecodeError) as error:
        raise DecodeError(f"not metrics of a resource: {error}", reason="syntax") from error


def alone(place: Place) -> bytes:
    """A request with this only, in what it stood in."""
    if isinstance(place.held, bytes):
        return framed(place.held, 1)
    request = ExportMetricsServiceRequest()
    one = request.resource_metrics.add()
    if place.resource is None:
        one.CopyFrom(place.held)
        return request.SerializeToString()
    one.resource.CopyFrom(place.resource)
    scoped = one.scope_metrics.add()
    if place.scope is None:
        scoped.CopyFrom(place.held)
        return request.SerializeToString()
    scoped.scope.CopyFrom(place.scope)
    metric = scoped.metrics.add(name=place.metric.name, description=place.metric.description, unit=place.metric.unit)
    whole, data = getattr(place.metric, place.data), getattr(metric, place.data)
    for setting in ("aggregation_temporality", "is_monotonic"):
        if setting in whole.DESCRIPTOR.fields_by_name:
            setattr(data, setting, getattr(whole, setting))
    data.data_points.append(place.held)
    return request.SerializeToString()


class _Teacher:
    """Lets the scanner know series by the bytes that a request has for them."""

    def __init__(self, context: Context, payload: bytes) -> None:
        self._known = context.catalog.known
        self._is_keyed = bool(context.key)
        self._raw = RawRequest(payload)
        self._path: tuple[int, ...] = ()
        self._scope_path: tuple[int, ...] = ()

    def learn(self, place: Place, series: Sequence[int]) -> None:
        """Know the series of this point; what is out of the ordinary is not learned, but decoded each time."""
        number = _SCANNED.get(place.data)
        if number is not None:
            with suppress(LookupError):
                self._learn(place, number, series)

    def _learn(self, place: Place, number: int, series: Sequence[int]) -> None:
        if place.path[:3] != self._path:
            self._data, self._part = self._metric(place, number)
            self._path = place.path[:3]
        point, part = self._raw.child(self._data, 1, place.path[3]), self._part
        if number == HISTOGRAM:
            bounds = struct.pack(f"<{len(place.held.explicit_bounds)}d", *place.held.explicit_bounds)
            key = number_of(OTLP_HISTOGRAM, part * 2 + place.held.HasField("sum"))
            self._known.learn_block(key, self._raw.run(point, HISTOGRAM_ATTRIBUTES), bounds, series)
        else:
            key = number_of(OTLP_NUMBER, part)
            self._known.learn(key, self._raw.run(point, NUMBER_ATTRIBUTES), b"", series[0])

    def _metric(self, place: Place, number: int) -> tuple[Field, int]:
        """Where a metric has its data, and its number as a part. Raises LookupError."""
        raw, data = self._raw, getattr(place.metric, place.data)
        metrics, scope = self._scope(place)
        whole = raw.only(raw.child(metrics, 2, place.path[2]), number)
        code = metric_code(number, getattr(data, "aggregation_temporality", 0), getattr(data, "is_monotonic", 0))
        part_of = number_of(OTLP_METRIC, scope * CODES + code)
        return whole, self._known.learn_part(part_of, place.metric.name.encode(), place.metric.unit.encode())

    def _scope(self, place: Place) -> tuple[Field, int]:
        """Where a scope has its metrics, and its number as a part. Raises LookupError."""
        if place.path[:2] != self._scope_path:
            raw = self._raw
            resource_metrics = raw.child(raw.root, 1, place.path[0])
            scope_metrics = raw.child(resource_metrics, 2, place.path[1])
            around = (raw.own(resource_metrics, 1), raw.own(scope_metrics, 1))
            self._scope_known = scope_metrics, self._known.learn_part(number_of(OTLP_SCOPE, self._is_keyed), *around)
            self._scope_path = place.path[:2]
        return self._scope_known
