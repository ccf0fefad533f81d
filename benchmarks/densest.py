"""Messages of at most 64 KiB with as many new series as their format lets them have: the most they can ask for."""

from __future__ import annotations

import itertools
import json
import string
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.protobuf import remote_write_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

LONGEST = 65_536
_TELEGRAF = b'{"name":"a","timestamp":%d,"fields":{%%s}}'
_SAMPLE = b'{"name":"%s","ts":%d,"value":1}'
_VECTOR = b'{"name":"%s","kind":"absolute","distribution":{"samples":[]}}'
_LETTERS = string.ascii_letters + "_"


def words() -> Iterator[str]:
    """All names, the shortest first."""
    for size in itertools.count(1):
        yield from map("".join, itertools.product(_LETTERS, repeat=size))


def joined(frame: bytes, separator: bytes, piece: Callable[[str], bytes]) -> bytes:
    """A message of as many pieces as there is room for, each of its word."""
    pieces, size = [], len(frame)
    for each in map(piece, words()):
        size += len(each) + len(separator)
        if size > LONGEST:
            return frame % separator.join(pieces)
        pieces.append(each)
    raise AssertionError


def largest(message: Callable[[int], bytes]) -> bytes:
    """The message of so many pieces that it has just room."""
    low, high = 1, LONGEST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if len(message(middle)) <= LONGEST else (low, middle)
    return message(low)


def influx(fields: int) -> bytes:
    """Lines of so many fields."""
    names = [f"{name}=1" for name in itertools.islice(words(), fields)]
    return joined(b"%s", b"\n", lambda word: f"{word} {','.join(names)}".encode())


def otlp(add: Callable[[Metric, str], None]) -> Callable[[int], bytes]:
    """Requests of so many metrics of one scope."""

    def message(number: int) -> bytes:
        request = ExportMetricsServiceRequest()
        metrics = request.resource_metrics.add().scope_metrics.add().metrics
        for name in itertools.islice(words(), number):
            add(metrics.add(name=name), name)
        return request.SerializeToString()

    return message


def gauges(now: int) -> bytes:
    """A point each."""
    return largest(
        otlp(lambda metric, _: metric.gauge.data_points.add(time_unix_nano=now * 1_000_000, as_int=1) and None)
    )


def exponential(now: int, buckets: int, temporality: int, scale: int, offset: int) -> bytes:
    """Exponential histograms of so many buckets, a point each."""

    def add(metric: Metric, _: str) -> None:
        metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
        point = metric.exponential_histogram.data_points.add(time_unix_nano=now * 1_000_000, count=buckets, scale=scale)
        point.positive.offset = offset
        point.positive.bucket_counts.extend([1] * buckets)

    return largest(otlp(add))


def native(now: int, buckets: int) -> bytes:
    """Native histograms of so many buckets in remote write 1.0."""

    def message(number: int) -> bytes:
        request = wire.WriteRequest()
        for name in itertools.islice(words(), number):
            span = wire.BucketSpan(offset=-buckets // 2, length=buckets)
            deltas = [1] + [0] * (buckets - 1)
            histogram = wire.Histogram(
                count_int=buckets, schema=2, positive_spans=[span], positive_deltas=deltas, timestamp=now
            )
            request.timeseries.add(labels=[wire.Label(name="__name__", value=name)], histograms=[histogram])
        return request.SerializeToString()

    return largest(message)


def pairs(now: int) -> bytes:
    """Remote write 2.0: every pair of a hundred symbols is a label."""
    symbols = ["", "__name__", *itertools.islice(words(), 100)]

    def message(number: int) -> bytes:
        request = wire.Request(symbols=symbols)
        for name, text in itertools.islice(itertools.product(range(2, 102), repeat=2), number):
            request.timeseries.add(labels_refs=[1, 2, name, text], samples=[wire.Sample(timestamp=now)])
        return request.SerializeToString()

    return largest(message)


def columnar(now: int, number: int) -> bytes:
    """Columnar JSON of so many series."""
    series = [{"name": name} for name in itertools.islice(words(), number)]
    return json.dumps({"series": series, "ts": now, "value": [1] * number}, separators=(",", ":")).encode()


DENSEST: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "influx_lines": ("influx", lambda _: influx(1)),
    "influx_fields": ("influx", lambda _: influx(4)),
    "prometheus": ("prometheus", lambda _: joined(b"%s", b"\n", lambda word: f"{word} 1".encode())),
    "telegraf": ("telegraf", lambda now: joined(_TELEGRAF % now, b",", lambda word: f'"{word}":1'.encode())),
    "json": ("json", lambda now: joined(b"[%s]", b",", lambda word: _SAMPLE % (word.encode(), now // 1000))),
    "columnar": ("columnar", lambda now: largest(lambda number: columnar(now, number))),
    "vector": ("vector", lambda _: joined(b"[%s]", b",", lambda word: _VECTOR % word.encode())),
    "remote_write_native": ("remote_write", lambda now: native(now, 10)),
    "remote_write_2": ("remote_write_2", pairs),
    "otlp_gauges": ("otlp_protobuf", gauges),
    "otlp_exponential": ("otlp_protobuf", lambda now: exponential(now, 10, 2, 2, -5)),
    "otlp_increments": ("otlp_protobuf", lambda now: exponential(now, 1, 1, 0, -20)),
}
"""The format, and the message at a time, ms."""
