"""A message of nothing but series that were never met: how long it takes, in every format, at the limit and per series.

Milliseconds of CPU for one message of `ingest.max_series_per_message` series (its default; `_ms`), and microseconds a
series (`_us`, median of several messages of a tenth of it, each with an empty catalog), of three labels and a service.
Nothing but new series takes time like that: `benchmarks.bench_formats` says what known ones do.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from benchmarks.harness import median, report
from benchmarks.messages import NAME, SERVICE, labels
from pipeline.batch import encode_batch, make_batch
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats.registry import by_name, decode_message, open_message
from pipeline.ingest.points import Context
from pipeline.ingest.protobuf import remote_write_pb2 as wire
from pipeline.runtime.memory import collect_seldom
from pipeline.series import Kind, Series
from pipeline.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS = 5


def named(series: int) -> Iterator[dict[str, str]]:
    """Labels of each of so many series."""
    return ({**labels(one), "service": SERVICE} for one in range(series))


def otlp(now: int, series: int) -> ExportMetricsServiceRequest:
    """A request of a gauge with a point for each series."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=NAME)
    for one in named(series):
        point = metric.gauge.data_points.add(time_unix_nano=now * 1_000_000, as_double=1.0)
        for name, text in one.items():
            point.attributes.add(key=name).value.string_value = text
    return request


def otlp_json(now: int, series: int) -> bytes:
    """The same as JSON."""
    return json_format.MessageToJson(otlp(now, series), indent=None).encode()


def remote_write(now: int, series: int) -> bytes:
    """A request of 1.0."""
    request = wire.WriteRequest()
    for one in named(series):
        added = request.timeseries.add(samples=[wire.Sample(value=1.0, timestamp=now)])
        for name, text in {"__name__": NAME, **one}.items():
            added.labels.add(name=name, value=text)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def remote_write_2(now: int, series: int) -> bytes:
    """A request of 2.0."""
    table, request = {"": 0}, wire.Request()
    for one in named(series):
        pairs = {"__name__": NAME, **one}.items()
        refs = [table.setdefault(text, len(table)) for pair in pairs for text in pair]
        request.timeseries.add(labels_refs=refs, samples=[wire.Sample(value=1.0, timestamp=now)])
    request.symbols.extend(table)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def lines(now: int, series: int) -> bytes:
    """Lines of one field."""
    tags = (",".join(f"{name}={text}" for name, text in one.items()) for one in named(series))
    return "".join(f"http,{each} requests_total=1 {now}000000\n" for each in tags).encode()


def text(now: int, series: int) -> bytes:
    """A body of a scrape."""
    pairs = (",".join(f'{name}="{value}"' for name, value in one.items()) for one in named(series))
    return "".join(f"{NAME}{{{each}}} 1 {now}\n" for each in pairs).encode()


def arrow(now: int, series: int) -> bytes:
    """A batch."""
    each = [Series(name=NAME, labels=one, kind=Kind.COUNTER, unit="") for one in named(series)]
    identities = np.array([one.identity() for one in each], np.uint64)
    return encode_batch(
        make_batch(identities, np.full(series, now), np.ones(series), [one.canonical() for one in each])
    )


def as_json(frame: str, one_of: Callable[[int, dict[str, str]], dict[str, Any]]) -> Callable[[int, int], bytes]:
    """A message of JSON values, one for each series."""
    return lambda now, series: (frame % ",".join(json.dumps(one_of(now, one)) for one in named(series))).encode()


MESSAGES: dict[str, Callable[[int, int], bytes]] = {
    "otlp_protobuf": lambda now, series: otlp(now, series).SerializeToString(),
    "otlp_json": otlp_json,
    "remote_write": remote_write,
    "remote_write_2": remote_write_2,
    "influx": lines,
    "prometheus": text,
    "telegraf": as_json(
        '{"metrics":[%s]}', lambda now, one: {"name": "http", "tags": one, "fields": {"n": 1}, "timestamp": now}
    ),
    "json": as_json("[%s]", lambda now, one: {"name": NAME, "labels": one, "ts": now, "value": 1}),
    "columnar": lambda now, series: json.dumps(
        {"series": [{"name": NAME, "labels": one} for one in named(series)], "ts": now, "value": [1] * series}
    ).encode(),
    "vector": as_json(
        "[%s]",
        lambda now, one: {"name": NAME, "tags": one, "kind": "absolute", "timestamp": now, "counter": {"value": 1}},
    ),
    "arrow": arrow,
}
"""By the format's name: a message of so many series at a time, ms. The two formats left out have one series each."""


def spent(name: str, payload: bytes, now: int, series: int) -> float:
    """CPU seconds for the message, none of its series known."""
    catalog = SeriesCatalog(IngestSettings(), 4)
    opened = open_message(payload, (), by_name(name).name, catalog.limits)
    begun = time.process_time()
    points = decode_message(opened, Context(catalog, None, now))
    seconds = time.process_time() - begun
    assert len(points.ts) == len(catalog) == series
    return seconds


def measure(name: str, most: int) -> dict[str, float]:
    """Both figures of a format."""
    now, few = int(time.time() * 1000), most // 10
    payload = MESSAGES[name](now, few)
    spent(name, payload, now, few)  # compiles kernels
    each = median([spent(name, payload, now, few) for _ in range(ROUNDS)]) / few
    whole = spent(name, MESSAGES[name](now, most), now, most)
    return {f"{name}_us": round(each * 1e6, 1), f"{name}_ms": round(whole * 1000)}


def main() -> None:
    """All formats, with the collector as `duri run` sets it."""
    collect_seldom()
    most = IngestSettings().max_series_per_message
    figures: dict[str, float] = {"series": most}
    for name in MESSAGES:
        figures.update(measure(name, most))
    report("new_series", figures)


if __name__ == "__main__":
    main()
