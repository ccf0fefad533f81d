"""What a message takes grows as the message does, however its series are laid out: counted in calls, not in time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.formats.registry import by_name
from tests.ingest.formats.labelled import ALONE, NS, many
from tests.ingest.promises import fresh_context

if TYPE_CHECKING:
    from collections.abc import Callable

_FEW, _TIMES = 40, 4


def _gauge(name: str = "m") -> dict[str, Any]:
    return {"name": name, "gauge": {"dataPoints": [{"timeUnixNano": str(NS), "asDouble": 1.0}]}}


def _points(number: int) -> list[dict[str, Any]]:
    """Points of one metric."""
    texts = [{"stringValue": str(one)} for one in range(number)]
    points = [{**_gauge()["gauge"]["dataPoints"][0], "attributes": [{"key": "k", "value": text}]} for text in texts]
    return [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {"dataPoints": points}}]}]}]


def _metrics(number: int) -> list[dict[str, Any]]:
    """Metrics of one scope, as an instrumented service sends them."""
    return [{"scopeMetrics": [{"metrics": [_gauge(f"m{one}") for one in range(number)]}]}]


def _scopes(number: int) -> list[dict[str, Any]]:
    """Scopes of one resource."""
    return [{"scopeMetrics": [{"scope": {"name": str(one)}, "metrics": [_gauge()]} for one in range(number)]}]


@pytest.mark.parametrize("resources", [_points, _metrics, _scopes], ids=["points", "metrics", "scopes"])
@pytest.mark.parametrize("encoding", ["otlp_protobuf", "otlp_json"])
def test_requests_take_what_they_hold(encoding: str, resources: Callable[[int], list[dict[str, Any]]]) -> None:
    """Whatever of a request there are many of: four times as many take four times as long."""

    def payload(number: int) -> bytes:
        request = json_format.ParseDict({"resourceMetrics": resources(number)}, ExportMetricsServiceRequest())
        if encoding == "otlp_json":
            return json_format.MessageToJson(request).encode()
        return request.SerializeToString()

    _check(encoding, payload)


@pytest.mark.parametrize("name", ALONE)
def test_samples_take_what_they_are(name: str) -> None:
    """Of every format that holds many samples."""
    _check(name, lambda number: many(name, [{"k": str(one)} for one in range(number)]))


def _check(name: str, payload: Callable[[int], bytes]) -> None:
    _calls(name, payload(1))  # compiles
    few, more = (_calls(name, payload(number)) for number in (_FEW, _TIMES * _FEW))
    assert more <= 1.1 * _TIMES * few


def _calls(name: str, payload: bytes) -> int:
    """How many functions are called to decode a message of new series."""
    context, calls = fresh_context(), 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event.endswith("call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        by_name(name).decode(payload, context)
    finally:
        sys.setprofile(before)
    assert len(context.catalog) > 0
    return calls
