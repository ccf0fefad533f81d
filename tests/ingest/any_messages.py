"""Arbitrary protobuf messages of each form: most are as producers send them, some are odd."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.protobuf import remote_write_pb2 as wire
from pipeline.ingest.scan.scanner import Form
from pipeline.series import STALE
from tests.builders import START

NS = 1_000_000
MINUTE = 60_000

texts = st.sampled_from(["a", "b", "é", ""])
attributes = st.dictionaries(
    texts, st.one_of(texts.map(lambda text: {"stringValue": text}), st.just({"intValue": "7"})), max_size=2
).map(lambda found: [{"key": key, "value": value} for key, value in found.items()])
times = st.one_of(
    st.integers(0, 10).map(lambda offset: str((START + offset) * NS + 17)),
    st.sampled_from(["0", str((START + 2 * 3_600_000) * NS), str(2**63), "1"]),
)
starts = st.sampled_from(
    ["0", str((START - MINUTE) * NS), str((START - 10 * MINUTE) * NS), str((START + MINUTE) * NS), str(2**63)]
)
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda number: {"asInt": str(number)}),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: {"asDouble": number}),
    st.sampled_from([{}, {"asDouble": "NaN"}, {"asDouble": "-Infinity"}]),
)
exemplars = st.lists(
    st.fixed_dictionaries(
        {"timeUnixNano": times, "asDouble": st.just(1.5)},
        optional={"spanId": st.just("AAAA"), "traceId": st.just("AAAA"), "filteredAttributes": attributes},
    ),
    max_size=2,
)
common = {"timeUnixNano": times, "startTimeUnixNano": starts, "attributes": attributes}
numbers = st.builds(
    lambda base, value: {**base, **value},
    st.fixed_dictionaries(common, optional={"flags": st.sampled_from([0, 1, 2, 3]), "exemplars": exemplars}),
    values,
)
counts = st.sampled_from(["0", "3", str(2**62), str(2**64 - 1)])
histograms = st.fixed_dictionaries(
    {
        **common,
        "count": counts,
        "bucketCounts": st.lists(counts, max_size=4),
        "explicitBounds": st.sampled_from([[], [1.0], [0.5, 1.0], [1.0, "Infinity"], [2.0, 1.0]]),
    },
    optional={
        "sum": st.just(2.5),
        "flags": st.sampled_from([0, 1]),
        "min": st.just(0.5),
        "max": st.just(1.5),
        "exemplars": exemplars,
    },
)
whole_histograms = histograms.map(
    lambda one: {
        **one,
        "bucketCounts": (one["bucketCounts"] * 5)[: len(one["explicitBounds"]) + 1]
        or ["1"] * (len(one["explicitBounds"]) + 1),
    }
)
temporality = st.sampled_from([0, 1, 2])
data = st.one_of(
    st.builds(lambda points: {"gauge": {"dataPoints": points}}, st.lists(numbers, max_size=3)),
    st.builds(
        lambda points, kind, monotonic: {
            "sum": {"dataPoints": points, "aggregationTemporality": kind, "isMonotonic": monotonic}
        },
        st.lists(numbers, max_size=3),
        temporality,
        st.booleans(),
    ),
    st.builds(
        lambda points, kind: {"histogram": {"dataPoints": points, "aggregationTemporality": kind}},
        st.lists(st.one_of(histograms, whole_histograms), max_size=2),
        temporality,
    ),
    st.builds(
        lambda points: {"summary": {"dataPoints": points}},
        st.lists(st.fixed_dictionaries({"timeUnixNano": times}), max_size=1),
    ),
)
metrics = st.builds(
    lambda name, unit, description, found: {"name": name, "unit": unit, "description": description, **found},
    st.sampled_from(["m", "n", ""]),
    st.sampled_from(["", "s"]),
    st.sampled_from(["", "è"]),
    data,
)
scopes = st.fixed_dictionaries(
    {"metrics": st.lists(metrics, max_size=2)}, optional={"scope": st.just({"name": "lib"}), "schemaUrl": st.just("x")}
)
resources = st.fixed_dictionaries(
    {"scopeMetrics": st.lists(scopes, max_size=2)},
    optional={"resource": st.builds(lambda found: {"attributes": found}, attributes), "schemaUrl": st.just("é")},
)
requests = st.lists(resources, max_size=2).map(
    lambda found: json_format.ParseDict({"resourceMetrics": found}, ExportMetricsServiceRequest()).SerializeToString()
)

sample_times = st.one_of(st.integers(START - 5, START + 5), st.sampled_from([0, -1, START + 2 * 3_600_000, 2**62]))
sample_starts = st.sampled_from([0, START - MINUTE, START + MINUTE])
samples = st.builds(
    lambda value, ts, start: wire.Sample(value=value, timestamp=ts, start_timestamp=start),
    st.one_of(st.floats(), st.just(STALE)),
    sample_times,
    sample_starts,
)
pairs = st.sampled_from(
    [
        (("__name__", "up"), ("job", "a")),
        (("__name__", "x_total"), ("job", "é")),
        (("__name__", "y"), ("empty", "")),
        (("job", "a"),),
        (("__name__", "z"), ("a", "1"), ("a", "2")),
        (),
    ]
)
native = wire.Histogram(
    count_int=1, schema=0, positive_spans=[wire.BucketSpan(length=1)], positive_deltas=[1], timestamp=START
)
extras = st.sampled_from([{}, {}, {"exemplars": [wire.Exemplar(value=1.0)]}, {"histograms": [native]}])
write_requests = st.builds(
    lambda series, metadata: wire.WriteRequest(timeseries=series, metadata=metadata).SerializeToString(),
    st.lists(
        st.builds(
            lambda labels, found, more: wire.TimeSeries(
                labels=[wire.Label(name=name, value=value) for name, value in labels], samples=found, **more
            ),
            pairs,
            st.lists(samples, max_size=3),
            extras,
        ),
        max_size=3,
    ),
    st.sampled_from([[], [], [wire.MetricMetadata(help="x")]]),
)


def second(series: list[tuple[Any, ...]], more: list[str]) -> bytes:
    table: dict[str, int] = {"": 0}
    for text in more:
        table.setdefault(text, len(table))
    found = []
    for labels, of, kind, unit, created, is_odd in series:
        refs = [table.setdefault(text, len(table)) for pair in labels for text in pair]
        metadata = wire.Metadata2(type=kind, unit_ref=table.setdefault(unit, len(table)), help_ref=99)
        refs += [1000] * is_odd
        found.append(wire.TimeSeries2(labels_refs=refs, samples=of, metadata=metadata, created_timestamp=created))
    return wire.Request(symbols=table, timeseries=found).SerializeToString()


requests_2 = st.builds(
    second,
    st.lists(
        st.tuples(
            pairs,
            st.lists(samples, max_size=3),
            st.integers(0, 9),
            st.sampled_from(["", "s"]),
            sample_starts,
            st.sampled_from([0, 0, 0, 1]),
        ),
        max_size=3,
    ),
    st.lists(st.sampled_from(["help é", "x"]), max_size=2),
)
MESSAGES = {Form.OTLP: requests, Form.REMOTE_WRITE: write_requests, Form.REMOTE_WRITE_2: requests_2}
