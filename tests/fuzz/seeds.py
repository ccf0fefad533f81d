"""Where the fuzzer starts: examples of each format, good ones and bad ones, and what real programs sent."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cramjam
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.protobuf import remote_write_pb2 as wire
from tests.builders import START
from tests.fuzz.subjects import ENCODINGS
from tests.ingest import test_otlp, test_remote_write
from tests.ingest.formats import test_cloudevents, test_exposition, test_influx, test_json_formats, test_sniffing
from tests.ingest.formats.labelled import ALONE, many
from tests.ingest.test_ingest_stage import ACCEPTED, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_MANY = 500
_BOMB = 2 << 20
_GOLDEN = Path(__file__).parents[1] / "golden"


def seeds() -> dict[str, list[bytes]]:
    """Messages by format; a real program's go to every format, each of which must bear what is meant for another."""
    found: dict[str, list[bytes]] = defaultdict(list)
    found["influx"] += [case[1] for case in (*test_influx.ACCEPTED, *test_influx.REFUSED)]
    found["prometheus"] += [case[1] for case in (*test_exposition.ACCEPTED, *test_exposition.REFUSED)]
    found["cloudevents"] += [case[1] for case in (*test_cloudevents.ACCEPTED, *test_cloudevents.REFUSED)]
    for name, _, body, _ in (*test_json_formats.ACCEPTED, *test_json_formats.REFUSED):
        found[name].append(_encoded(body))
    for name, body in test_sniffing.LOOKS:
        found[name].append(_encoded(body))
    found["json"] += [_encoded(case[1]) for case in (*ACCEPTED, *REFUSED)]
    found["columnar"] += [payload for payload in found["json"] if b'"series"' in payload]
    for otlp in (*_otlp(), _many_metrics()):
        found["otlp_json"].append(_encoded(otlp))
        found["otlp_protobuf"].append(json_format.ParseDict(otlp, ExportMetricsServiceRequest()).SerializeToString())
    samples = [test_remote_write.sample(1.0), test_remote_write.sample(2.5, START + 15_000)]
    found["remote_write"].append(test_remote_write.first(test_remote_write.one(samples=samples)))
    spans = [wire.BucketSpan(offset=-(2**31), length=1)]
    histograms = [wire.Histogram(count_int=1, positive_spans=spans, positive_deltas=[1], timestamp=START)]
    found["remote_write"].append(test_remote_write.first(test_remote_write.one(histograms=histograms)))
    found["remote_write_2"].append(test_remote_write.second(unit="seconds", samples=samples))
    for name in ALONE:
        found[name].append(many(name, [{"a": str(number)} for number in range(_MANY)]))
    return found


def messages(of_formats: Mapping[str, Sequence[bytes]]) -> Iterator[bytes]:
    """Messages with headers (see `tests.fuzz.subjects`): of each format, compressed in each way; and bombs."""
    packers = (bytes, gzip.compress, zlib.compress, cramjam.zstd.compress, cramjam.snappy.compress_raw)
    for one in (each[-1] for each in of_formats.values()):
        for encoding, packed in enumerate(packers):
            yield bytes([encoding, 0, encoding % 2]) + bytes(packed(one))
    for encoding, packed in enumerate(packers[1:], 1):
        yield bytes([encoding, 0, 0]) + bytes(packed(bytes(_BOMB)))
    yield bytes([ENCODINGS.index(b"snappy"), 0, 0]) + bytes(cramjam.snappy.compress(of_formats["influx"][-1]))


def _otlp() -> list[dict[str, Any]]:
    """A request for each kind of metric."""
    point, gauge, total = test_otlp.point, test_otlp.gauge, test_otlp.total
    attributes = [{"key": "code", "value": {"intValue": "200"}}]
    mapped = [{"key": "map", "value": {"kvlistValue": {"values": attributes}}}]
    cumulative = {"aggregationTemporality": 2}
    buckets = {"count": "9", "sum": 3.5, "bucketCounts": ["7", "2"], "explicitBounds": [0.5]}
    scaled = {
        "count": "9",
        "sum": 3.5,
        "scale": 1,
        "zeroCount": "2",
        "positive": {"offset": 1, "bucketCounts": ["3", "4"]},
    }
    far = {"count": "3", "positive": {"offset": -(2**31), "bucketCounts": ["3"]}}
    quantiles = {"count": "9", "sum": 3.5, "quantileValues": [{"quantile": 0.5, "value": 0.2}]}
    return [
        test_otlp.request(metric)
        for metric in (
            gauge(point(asDouble=1.5, attributes=attributes), unit="ms"),
            total(point(asInt="7", attributes=mapped), temporality=1),
            {"name": "h", "histogram": {"dataPoints": [point(**buckets)], **cumulative}},
            {"name": "e", "exponentialHistogram": {"dataPoints": [point(**scaled)], **cumulative}},
            {"name": "f", "exponentialHistogram": {"dataPoints": [point(**far)], "aggregationTemporality": 1}},
            {"name": "s", "summary": {"dataPoints": [point(**quantiles)]}},
        )
    ]


def _many_metrics() -> dict[str, Any]:
    """A request as an instrumented service sends it: metrics of one scope, a point each."""
    point = test_otlp.point(asInt="1")
    return test_otlp.request(*(test_otlp.gauge(point, name=f"m{number}") for number in range(_MANY)))


def golden() -> list[bytes]:
    """What real programs sent."""
    return [path.read_bytes() for path in sorted(_GOLDEN.rglob("*")) if path.is_file() and path.suffix != ".md"]


def _encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()
