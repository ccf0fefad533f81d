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
from tests.ingest.any_messages import MESSAGES, MINUTE, NS, second

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
        (known.series[index], int(at), struct.pack("<d", float(number)))
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
