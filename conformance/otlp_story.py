"""What a service tells a Collector: every kind of OTLP metric, as OTLP/JSON requests, one each step.

Field by field after opentelemetry-proto's metrics.proto; 64-bit integers are texts, enumerations are numbers.
"""

from __future__ import annotations

from typing import Any

SERVICE = "shop"
_DELTA, _CUMULATIVE = 1, 2
_NO_VALUE = 1
"""DataPointFlags: no recorded value."""
RESTART = 4
"""The step at which the service starts anew: its counters begin at 0 again, with a new start time."""


class Story:
    """Makes the requests one after the other; `at_ns` is the time of the first start."""

    def __init__(self, at_ns: int) -> None:
        self._began_ns = at_ns
        self._counted = 0
        self._step = 0

    def next(self, now_ns: int) -> dict[str, Any]:
        """The request of the next step."""
        self._step += 1
        self._counted += 1
        if self._step == RESTART:
            self._began_ns, self._counted = now_ns - 1_000_000, 1
        return _request(self._step, self._counted, now_ns, self._began_ns)


def _request(step: int, counted: int, now_ns: int, began_ns: int) -> dict[str, Any]:
    at = {"timeUnixNano": str(now_ns)}
    since = {**at, "startTimeUnixNano": str(began_ns)}
    metrics = [
        _sum("http.server.requests", "{request}", _CUMULATIVE, True, [
            {**since, "asInt": str(17 * counted), "attributes": _attributes(method="GET", status=200)},
            {**since, "asInt": str(counted), "attributes": _attributes(method="GET", status=500)},
        ]),
        _sum("orders.placed", "{order}", _DELTA, True, [{**since, "asInt": str(step), "attributes": []}]),
        _sum("queue.length", "{job}", _CUMULATIVE, False, [
            {**since, "asInt": str(10 - step), "attributes": _attributes(queue="orders")},
        ]),
        _sum("queue.change", "{job}", _DELTA, False, [
            {**since, "asDouble": (-1) ** step * 1.5, "attributes": _attributes(queue="orders")},
        ]),
        {"name": "process.memory.usage", "unit": "By", "gauge": {"dataPoints": [
            {**at, "asInt": str(2**53 + step), "attributes": _attributes(cached=True)},
            {**at, "flags": _NO_VALUE, "attributes": _attributes(cached=False)},
        ]}},
        {"name": "system.cpu.utilization", "unit": "1", "gauge": {"dataPoints": [
            {**at, "asDouble": 0.125 * step, "attributes": _attributes(cpu=0)},
        ]}},
        {"name": "http.server.request.duration", "unit": "s", "histogram": {
            "aggregationTemporality": _CUMULATIVE,
            "dataPoints": [{
                **since, "count": str(6 * counted), "sum": 1.25 * counted, "min": 0.01, "max": 0.75,
                "explicitBounds": [0.05, 0.1, 0.5], "bucketCounts": [str(n * counted) for n in (3, 2, 0, 1)],
                "attributes": _attributes(route="/orders/{id}"),
            }],
        }},
        {"name": "rpc.client.duration", "unit": "ms", "exponentialHistogram": {
            "aggregationTemporality": _DELTA,
            "dataPoints": [{
                **since, "count": "7", "sum": 21.5, "scale": 1, "zeroCount": "1",
                "positive": {"offset": 1, "bucketCounts": ["2", "0", "3"]},
                "negative": {"offset": 0, "bucketCounts": ["1"]},
                "attributes": [],
            }],
        }},
        {"name": "gc.pause", "unit": "s", "summary": {"dataPoints": [{
            **since, "count": str(counted), "sum": 0.5 * counted,
            "quantileValues": [{"quantile": 0.5, "value": 0.1}, {"quantile": 0.99, "value": 0.4}],
            "attributes": [],
        }]}},
    ]  # fmt: skip
    resource = _attributes(**{"service.name": SERVICE, "service.instance.id": "shop-1", "host.cpu.count": 8})
    scope = {"name": "shop.web", "version": "1.4.2", "attributes": _attributes(team="orders")}
    return {
        "resourceMetrics": [
            {"resource": {"attributes": resource}, "scopeMetrics": [{"scope": scope, "metrics": metrics}]}
        ]
    }


def _sum(name: str, unit: str, temporality: int, monotonic: bool, points: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"aggregationTemporality": temporality, "isMonotonic": monotonic, "dataPoints": points}
    return {"name": name, "unit": unit, "sum": body}


def _attributes(**values: str | bool | int) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: str | bool | int) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
