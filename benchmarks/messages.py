"""Messages of every format, made of the same samples: a scrape of 500 series of one service, again and again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import cramjam
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.protobuf import remote_write_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable

POINTS = 500
NAME = "http_requests_total"
SERVICE = "service-07"
_HOUR_MS = 3_600_000
_NS = 1_000_000


def labels(one: int) -> dict[str, str]:
    """Labels of one of the series, without the service."""
    return {"instance": f"i-{one:04d}", "method": "GET", "status": "200"}


def value(at: int, one: int) -> float:
    """Value of a series in a message."""
    return at + one * 0.25


def otlp(now: int, count: int) -> list[bytes]:
    """OTLP protobuf requests of a monotonic sum."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for name, text in (("service.name", SERVICE), ("telemetry.sdk.language", "python")):
        resource.resource.attributes.add(key=name).value.string_value = text
    scope = resource.scope_metrics.add()
    scope.scope.name = "opentelemetry.instrumentation.fastapi"
    metric = scope.metrics.add(name=NAME, unit="1")
    metric.sum.aggregation_temporality = 2
    metric.sum.is_monotonic = True
    for one in range(POINTS):
        point = metric.sum.data_points.add(start_time_unix_nano=(now - _HOUR_MS) * _NS)
        for name, text in labels(one).items():
            point.attributes.add(key=name).value.string_value = text
    messages = []
    for at in range(count):
        for one, point in enumerate(metric.sum.data_points):
            point.time_unix_nano = (now + at) * _NS
            point.as_double = value(at, one)
        messages.append(request.SerializeToString())
    return messages


def remote_write(now: int, count: int) -> list[bytes]:
    """Remote-write 1.0 requests, in snappy blocks."""
    request = wire.WriteRequest()
    for one in range(POINTS):
        series = request.timeseries.add()
        for name, text in sorted({"__name__": NAME, "job": SERVICE, **labels(one)}.items()):
            series.labels.add(name=name, value=text)
        series.samples.add()
    messages = []
    for at in range(count):
        for one, series in enumerate(request.timeseries):
            series.samples[0].timestamp = now + at
            series.samples[0].value = value(at, one)
        messages.append(bytes(cramjam.snappy.compress_raw(request.SerializeToString())))
    return messages


def json_singles(now: int, count: int) -> list[bytes]:
    """One JSON sample a message."""
    texts = [json.dumps({"service": SERVICE, **labels(one)}).encode() for one in range(POINTS)]
    return [
        b'{"name":"%s","labels":%s,"ts":%d,"value":%d}' % (NAME.encode(), texts[at % POINTS], now + at // POINTS, at)
        for at in range(count)
    ]


def columnar(now: int, count: int) -> list[bytes]:
    """Columnar JSON."""
    names = [{"name": NAME, "labels": {"service": SERVICE, **labels(one)}} for one in range(POINTS)]
    series = json.dumps(names).encode()
    return [
        b'{"series":%s,"ts":%d,"value":%s}'
        % (series, now + at, json.dumps([value(at, one) for one in range(POINTS)]).encode())
        for at in range(count)
    ]


def influx(now: int, count: int) -> list[bytes]:
    """Lines of one field each, a scrape a message, as Telegraf writes them."""
    tags = [",".join(f"{name}={text}" for name, text in labels(one).items()) for one in range(POINTS)]
    return [
        "".join(
            f"http,{tags[one]},service={SERVICE} requests_total={value(at, one)} {(now + at) * _NS}\n"
            for one in range(POINTS)
        ).encode()
        for at in range(count)
    ]


class Rows:
    """What the obvious way collects: columns, and an index of series by name and labels."""

    def __init__(self) -> None:
        self.series: list[int] = []
        self.ts: list[int] = []
        self.value: list[float] = []
        self._known: dict[Any, int] = {}

    def add(self, name: str, named: dict[str, str], ts: int, number: float) -> None:
        """One sample."""
        key = (name, tuple(sorted(named.items())))
        self.series.append(self._known.setdefault(key, len(self._known)))
        self.ts.append(ts)
        self.value.append(number)


def obvious_otlp(payload: bytes, rows: Rows) -> None:
    """Generated objects, walked."""
    for resource in ExportMetricsServiceRequest.FromString(payload).resource_metrics:
        around = {one.key: one.value.string_value for one in resource.resource.attributes}
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.sum.data_points:
                    named = {**around, **{one.key: one.value.string_value for one in point.attributes}}
                    rows.add(metric.name, named, point.time_unix_nano // _NS, point.as_double)


def obvious_remote_write(payload: bytes, rows: Rows) -> None:
    """Generated objects, walked."""
    for series in wire.WriteRequest.FromString(bytes(cramjam.snappy.decompress_raw(payload))).timeseries:
        named = {label.name: label.value for label in series.labels}
        name = named.pop("__name__")
        for sample in series.samples:
            rows.add(name, named, sample.timestamp, sample.value)


def obvious_json_single(payload: bytes, rows: Rows) -> None:
    """`json.loads`."""
    sample = json.loads(payload)
    rows.add(sample["name"], sample["labels"], sample["ts"], sample["value"])


def obvious_columnar(payload: bytes, rows: Rows) -> None:
    """`json.loads`."""
    columns = json.loads(payload)
    for series, number in zip(columns["series"], columns["value"], strict=True):
        rows.add(series["name"], series["labels"], columns["ts"], number)


def obvious_influx(payload: bytes, rows: Rows) -> None:
    """Lines, split."""
    for line in payload.decode().splitlines():
        series, fields, at = line.split(" ")
        measurement, *pairs = series.split(",")
        named = dict(pair.split("=") for pair in pairs)
        for field in fields.split(","):
            name, _, number = field.partition("=")
            rows.add(f"{measurement}_{name}", named, int(at) // _NS, float(number))


class Case(NamedTuple):
    """Messages of a format: how they are made (first time in ms, how many), the obvious way to read one."""

    make: Callable[[int, int], list[bytes]]
    obvious: Callable[[bytes, Rows], None]
    samples: int
    """Samples a message."""


CASES: dict[str, Case] = {
    "otlp_protobuf": Case(otlp, obvious_otlp, POINTS),
    "remote_write": Case(remote_write, obvious_remote_write, POINTS),
    "json": Case(json_singles, obvious_json_single, 1),
    "columnar": Case(columnar, obvious_columnar, POINTS),
    "influx": Case(influx, obvious_influx, POINTS),
}
"""By the format's name."""
