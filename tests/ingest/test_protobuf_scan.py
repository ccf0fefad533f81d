from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import cramjam
import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.errors import DecodeError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.columns import Columns
from pipeline.ingest.formats import otlp_protobuf, remote_write, remote_write_2
from pipeline.ingest.points import Context
from pipeline.ingest.protobuf import remote_write_pb2 as wire
from pipeline.ingest.reader import MessageReader
from pipeline.ingest.scan.scanner import Candidates, Form
from pipeline.ingest.stage import IngestStage
from pipeline.series import STALE
from pipeline.settings import IngestSettings
from pipeline.stage import LogRecord
from tests.builders import START

if TYPE_CHECKING:
    from pipeline.ingest.formats.registry import Decode

NS = 1_000_000
MINUTE = 60_000
DECODERS: dict[Form, Decode] = {
    Form.OTLP: otlp_protobuf.decode,
    Form.REMOTE_WRITE: remote_write.decode,
    Form.REMOTE_WRITE_2: remote_write_2.decode,
}

Row = tuple[bytes, int, bytes]


def reference(form: Form, payload: bytes, key: bytes | None = None) -> list[Row] | None:
    """Rows by the decoder alone: canonical bytes, time, bits of the value; None where anything is refused."""
    known = SeriesCatalog(IngestSettings(), 1)
    try:
        points = DECODERS[form](payload, Context(known, key, START))
    except DecodeError:
        return None
    if points.refused:
        return None
    return rows(known, points.series, points.ts, points.value)


def rows(known: SeriesCatalog, series: Any, ts: Any, value: Any) -> list[Row]:
    return [
        (known.canonical[index], int(at), struct.pack("<d", float(number)))
        for index, at, number in zip(series, ts, value, strict=True)
    ]


def scanned(form: Form, taught: list[bytes], payload: bytes, key: bytes | None = None) -> list[Row] | None:
    """Rows by the scanner, once a decoder has met other messages; None where it leaves the message."""
    known = SeriesCatalog(IngestSettings(), 1)
    for one in taught:
        DECODERS[form](one, Context(known, key, START))
    window = np.array([START])
    found = known.scanner.scan(
        form,
        Candidates(
            [payload],
            [key],
            window - known.limits.past_ms,
            window + known.limits.future_ms,
            known.limits.reset_ms,
        ),
    )
    return rows(known, found.series, found.ts, found.value) if found.taken[0] else None


# --- messages ---------------------------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("form", DECODERS, ids=lambda form: form.name)
@pytest.mark.parametrize("key", [None, b"k"])
@settings(max_examples=300, deadline=None)
@given(found=st.data())
def test_same_rows_as_the_decoder(form: Form, key: bytes | None, found: st.DataObject) -> None:
    """What the scanner takes, of arbitrary messages and after any others, is what the decoder gives, bit by bit."""
    payload = found.draw(MESSAGES[form])
    taught = [payload, found.draw(MESSAGES[form])]
    try:
        taken = scanned(form, taught, payload, key)
    except DecodeError:  # what it was to be taught with
        return
    if taken is not None:
        assert taken == reference(form, payload, key)


@pytest.mark.parametrize("form", DECODERS, ids=lambda form: form.name)
@settings(max_examples=400, deadline=None)
@given(found=st.data())
def test_same_rows_of_mutated_bytes(form: Form, found: st.DataObject) -> None:
    """Bytes changed, cut, put in or doubled: what the scanner still takes is what the decoder gives."""
    valid = VALID[form]
    changed = bytearray(valid)
    for at, byte in found.draw(st.lists(st.tuples(st.integers(0, len(valid) - 1), st.integers(0, 255)), max_size=3)):
        changed[at] = byte
    if found.draw(st.booleans()):
        at = found.draw(st.integers(0, len(changed)))
        changed[at:at] = found.draw(st.one_of(st.binary(max_size=4), st.just(bytes(changed))))
    payload = bytes(changed[: found.draw(st.integers(0, len(changed)))] if found.draw(st.booleans()) else changed)
    taken = scanned(form, [valid], payload)
    if taken is not None:
        assert taken == reference(form, payload)


def otlp(value: float = 1.0, *, service: str = "shop") -> bytes:
    """A request of each kind that the scanner reads."""
    at = {"timeUnixNano": str(START * NS), "startTimeUnixNano": str((START - MINUTE) * NS)}
    route = [{"key": "route", "value": {"stringValue": "/cart"}}]
    body = {
        "resourceMetrics": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeMetrics": [
                    {
                        "scope": {"name": "lib"},
                        "metrics": [
                            {
                                "name": "g",
                                "gauge": {
                                    "dataPoints": [{**at, "asDouble": 1.0, "attributes": route}, {**at, "asInt": "3"}]
                                },
                            },
                            {
                                "name": "s",
                                "unit": "1",
                                "sum": {
                                    "dataPoints": [{**at, "asDouble": 1.0}],
                                    "aggregationTemporality": 2,
                                    "isMonotonic": True,
                                },
                            },
                            {
                                "name": "d",
                                "sum": {"dataPoints": [{**at, "asDouble": 1.0}], "aggregationTemporality": 1},
                            },
                            {
                                "name": "h",
                                "description": "Zeit in µs",
                                "histogram": {
                                    "aggregationTemporality": 2,
                                    "dataPoints": [
                                        {
                                            **at,
                                            "count": "3",
                                            "sum": 1.0,
                                            "bucketCounts": ["1", "2"],
                                            "explicitBounds": [0.5],
                                            "exemplars": [{"timeUnixNano": "5", "asDouble": 0.1, "spanId": "AAAA"}],
                                        },
                                        {**at, "count": "3", "attributes": route},
                                    ],
                                },
                            },
                        ],
                    }
                ],
            }
        ]
    }
    request = json_format.ParseDict(body, ExportMetricsServiceRequest())
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        for point in getattr(metric, metric.WhichOneof("data") or "").data_points:
            if metric.name == "h" and point.HasField("sum"):
                point.sum = value
            elif metric.name != "h" and point.WhichOneof("value") == "as_double":
                point.as_double = value
    return request.SerializeToString()


def write(value: float = 1.0) -> bytes:
    labels = [wire.Label(name=name, value=text) for name, text in (("__name__", "x_total"), ("job", "é"))]
    series = wire.TimeSeries(
        labels=labels, samples=[wire.Sample(value=value, timestamp=START), wire.Sample(timestamp=START + 1)]
    )
    return wire.WriteRequest(timeseries=[series, series]).SerializeToString()


def write_2(value: float = 1.0) -> bytes:
    of = [
        wire.Sample(value=value, timestamp=START),
        wire.Sample(value=value, timestamp=START + 5, start_timestamp=START + 2),
    ]
    labels = (("__name__", "x"), ("job", "é"))
    return second([(labels, of, wire.COUNTER, "s", START - MINUTE, 0), (labels, of, wire.GAUGE, "", 0, 0)], ["help µ"])


VALID = {Form.OTLP: otlp(), Form.REMOTE_WRITE: write(), Form.REMOTE_WRITE_2: write_2()}


@pytest.mark.parametrize(
    ("form", "make"),
    [(Form.OTLP, otlp), (Form.REMOTE_WRITE, write), (Form.REMOTE_WRITE_2, write_2)],
    ids=["otlp", "1.0", "2.0"],
)
@pytest.mark.parametrize("value", [2.5, -0.0, float("inf"), STALE])
def test_ordinary_messages_are_taken(form: Form, make: Any, value: float) -> None:
    """Once one message was decoded the next is scanned, to the same rows."""
    taken = scanned(form, [make()], make(value))
    assert taken is not None
    assert taken == reference(form, make(value))


def test_other_resources_are_not_taken() -> None:
    """The same metrics and attributes of another service are other series."""
    assert scanned(Form.OTLP, [otlp()], otlp(service="billing")) is None


def test_labels_that_the_key_completes_are_taken_without_a_key_only() -> None:
    """A series without a service of its own belongs to the key's, and no two keys are alike."""
    host = wire.TimeSeries(
        labels=[wire.Label(name="__name__", value="up"), wire.Label(name="host", value="h")],
        samples=[wire.Sample(value=1.0, timestamp=START)],
    )
    payload = wire.WriteRequest(timeseries=[host]).SerializeToString()
    assert scanned(Form.REMOTE_WRITE, [payload], payload) is not None
    assert scanned(Form.REMOTE_WRITE, [payload], payload, b"k") is None


@pytest.mark.parametrize("form", DECODERS, ids=lambda form: form.name)
def test_the_stage_gives_the_same_whether_series_are_known(form: Form) -> None:
    """A message gives the same samples the first time (decoded) as the second (scanned)."""
    body = VALID[form] if form is Form.OTLP else bytes(cramjam.snappy.compress_raw(VALID[form]))
    stage = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1)
    outputs = [stage.step([LogRecord("duri.metrics", 0, at, START, None, body)]) for at in range(2)]
    assert [one.value for one in outputs[0]] == [one.value for one in outputs[1]]
    assert outputs[0]


def test_a_poll_of_one_kind_is_decoded_once() -> None:
    """What the first message teaches serves the rest of the same poll."""
    known = SeriesCatalog(IngestSettings(), 1)
    reader = MessageReader(IngestSettings(), known, "auto")
    columns = Columns()
    records = [LogRecord("duri.metrics", 0, at, START, None, otlp(float(at))) for at in range(50)]
    letters = list(reader.read(records, np.full(50, START), columns))
    assert not letters
    assert len(columns.arrays().ts) == 50 * len(reference(Form.OTLP, otlp()) or [])


def test_mixed_forms_keep_their_order() -> None:
    """Messages of several forms in one poll give their samples in the order of the log."""
    json_sample = b'{"name":"up","labels":{"service":"a"},"ts":%d,"value":1}' % START
    bodies = [
        json_sample,
        VALID[Form.OTLP],
        b"rubbish",
        json_sample,
        bytes(cramjam.snappy.compress_raw(write())),
        json_sample,
    ]
    columns = Columns()
    reader = MessageReader(IngestSettings(), SeriesCatalog(IngestSettings(), 1), "auto")
    records = [LogRecord("duri.metrics", 0, at, START, None, body) for at, body in enumerate(bodies)]
    for _ in range(2):
        letters = list(reader.read(records, np.full(len(bodies), START), columns))
        assert [letter.reason for letter in letters] == ["format"]
    series = columns.arrays().series
    half = len(series) // 2
    assert series[:half].tolist() == series[half:].tolist()
    assert [at for at, one in enumerate(series[:half].tolist()) if one == series[0]] == [0, half - 6, half - 1]


def backwards(message: Any) -> bytes:
    """The message as the Collector writes it: in each message the fields from the last to the first."""
    written = b""
    for field, held in reversed(message.ListFields()):
        for one in held if field.is_repeated else [held]:
            if field.message_type is not None:
                inside = backwards(one)
                tag = bytes([field.number << 3 | 2])
                written += tag + encoded_length(len(inside)) + inside
            else:
                alone = type(message)()
                if field.is_repeated:
                    getattr(alone, field.name).extend(held)
                else:
                    setattr(alone, field.name, one)
                written += alone.SerializeToString()
                break
    return written


def encoded_length(size: int) -> bytes:
    found = bytearray()
    while size > 0x7F:
        found.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*found, size])


def test_fields_in_any_order_are_taken() -> None:
    """The Collector writes fields from the last to the first; its messages are scanned as well as others."""
    first, again = (backwards(ExportMetricsServiceRequest.FromString(otlp(value))) for value in (1.0, 2.0))
    assert first != otlp()
    assert ExportMetricsServiceRequest.FromString(first) == ExportMetricsServiceRequest.FromString(otlp())
    taken = scanned(Form.OTLP, [first], again)
    assert taken is not None
    assert taken == reference(Form.OTLP, otlp(2.0))
