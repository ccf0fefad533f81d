"""An empty label is no label, as Prometheus has it, in every format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.protobuf import remote_write_pb2 as wire
from tests.builders import START
from tests.ingest.formats.reading import context, rows

if TYPE_CHECKING:
    from collections.abc import Callable

Labels = dict[str, str]
NS = START * 1_000_000


def _quoted(labels: Labels) -> str:
    return ",".join(f'{name}="{text}"' for name, text in labels.items())


def _otlp(labels: Labels) -> dict[str, object]:
    attributes = [{"key": name, "value": {"stringValue": text}} for name, text in labels.items()]
    points = [{"timeUnixNano": str(NS), "asDouble": 1.0, "attributes": attributes}]
    metric = {"name": "m_v", "gauge": {"dataPoints": points}}
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}


def _remote_write(labels: Labels) -> bytes:
    pairs = [wire.Label(name=name, value=text) for name, text in {"__name__": "m_v", **labels}.items()]
    series = wire.TimeSeries(labels=pairs, samples=[wire.Sample(value=1.0, timestamp=START)])
    return wire.WriteRequest(timeseries=[series]).SerializeToString()


def _remote_write_2(labels: Labels) -> bytes:
    table = {"": 0}
    refs = [table.setdefault(text, len(table)) for pair in {"__name__": "m_v", **labels}.items() for text in pair]
    series = wire.TimeSeries2(labels_refs=refs, samples=[wire.Sample(value=1.0, timestamp=START)])
    return wire.Request(symbols=table, timeseries=[series]).SerializeToString()


def _json(**fields: object) -> bytes:
    return json.dumps(fields).encode()


MESSAGES: dict[str, Callable[[Labels], bytes]] = {
    "json": lambda labels: _json(name="m_v", labels=labels, ts=START, value=1.0),
    "columnar": lambda labels: _json(series=[{"name": "m_v", "labels": labels}], ts=START, value=[1.0]),
    "influx": lambda labels: (
        ",".join(["m", *(f"{name}={text}" for name, text in labels.items())]) + f" v=1 {NS}"
    ).encode(),
    "telegraf": lambda labels: _json(name="m", tags=labels, fields={"v": 1.0}, timestamp=START),
    "prometheus": lambda labels: f"m_v{{{_quoted(labels)}}} 1 {START}".encode(),
    "vector": lambda labels: _json(name="m_v", tags=labels, kind="absolute", timestamp=START, gauge={"value": 1.0}),
    "kafka_adapter": lambda labels: _json(name="m_v", labels=labels, timestamp=START, value="1"),
    "remote_write": _remote_write,
    "remote_write_2": _remote_write_2,
    "otlp_json": lambda labels: _json(**_otlp(labels)),
    "otlp_protobuf": lambda labels: json_format.ParseDict(
        _otlp(labels), ExportMetricsServiceRequest()
    ).SerializeToString(),
}
labels_of = st.dictionaries(st.sampled_from(["a", "b", "job", "le", "é"]), st.sampled_from(["", "", "x", "ü"]))


@pytest.mark.parametrize("name", MESSAGES)
@given(labels=labels_of)
def test_what_sends_empty_labels_is_what_leaves_them_out(name: str, labels: Labels) -> None:
    """One series, whichever was met first, and none of its labels is empty."""
    full = {label: text for label, text in labels.items() if text}
    for first, then in ((labels, full), (full, labels)):
        given = context()
        [row] = rows(name, MESSAGES[name](first), given)
        assert rows(name, MESSAGES[name](then), given) == [row] == [("m_v", full, "gauge", 0, 1.0)]
        assert len(given.catalog) == 1
