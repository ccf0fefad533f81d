"""Requests of OTLP in both of its encodings, and what is read of them."""

from __future__ import annotations

import json
import struct
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats import otlp_json, otlp_protobuf
from pipeline.ingest.points import Context, Points
from pipeline.series import parse_canonical
from pipeline.settings import IngestSettings
from tests.builders import START

NS = 1_000_000


MINUTE = 60_000


def context(**settings: object) -> Context:
    return Context(SeriesCatalog(IngestSettings(**settings), 4), None, START)


def request(
    *metrics: dict[str, Any], resource: dict[str, str] | None = None, scope: dict[str, Any] | None = None
) -> Any:
    """A request of these metrics, written as OTLP JSON has them."""
    attributes = [
        {"key": key, "value": {"stringValue": value}} for key, value in (resource or {"service.name": "shop"}).items()
    ]
    return {
        "resourceMetrics": [
            {"resource": {"attributes": attributes}, "scopeMetrics": [{"scope": scope or {}, "metrics": list(metrics)}]}
        ]
    }


def point(**fields: Any) -> dict[str, Any]:
    return {"timeUnixNano": str(START * NS), **fields}


def gauge(*points: dict[str, Any], name: str = "m", unit: str = "") -> dict[str, Any]:
    return {"name": name, "unit": unit, "gauge": {"dataPoints": list(points)}}


def total(*points: dict[str, Any], temporality: int = 2, monotonic: bool = True) -> dict[str, Any]:
    data = {"dataPoints": list(points), "aggregationTemporality": temporality, "isMonotonic": monotonic}
    return {"name": "m", "sum": data}


def both(body: Any, known: Context | None = None) -> Points:
    """Points of the request, the same from JSON and from protobuf."""
    known = known or context()
    from_json = otlp_json.decode(json.dumps(body).encode(), known)
    message = json_format.ParseDict(body, ExportMetricsServiceRequest())
    from_protobuf = otlp_protobuf.decode(message.SerializeToString(), known)
    assert list(from_json.series) == list(from_protobuf.series)
    assert list(from_json.ts) == list(from_protobuf.ts)
    assert [struct.pack("<d", value) for value in from_json.value] == [
        struct.pack("<d", value) for value in from_protobuf.value
    ]
    assert [one.position for one in from_json.refused] == [one.position for one in from_protobuf.refused]
    return from_json


def rows(body: Any) -> dict[str, tuple[str, float]]:
    """Kind and value by name, with the label that tells it from its sisters."""
    known = context()
    points = both(body, known)
    found = {}
    for index, value in zip(points.series, points.value, strict=True):
        series = parse_canonical(known.catalog.series[index])
        label = series.labels.get("le") or series.labels.get("quantile") or ""
        found[series.name + (f" {label}" if label else "")] = (series.kind.value, float(value))
    return found


def labels(body: Any) -> dict[str, str]:
    known = context()
    [index] = both(body, known).series
    return parse_canonical(known.catalog.series[index]).labels
