"""Messages of one sample, `m_v` of 1 at START, and of many, in every format that has labels of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.protobuf import remote_write_pb2 as wire
from tests.builders import START

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


def _remote_write_2(*each: Labels) -> bytes:
    table = {"": 0}
    request = wire.Request()
    for labels in each:
        pairs = {"__name__": "m_v", **labels}.items()
        refs = [table.setdefault(text, len(table)) for pair in pairs for text in pair]
        request.timeseries.add(labels_refs=refs, samples=[wire.Sample(value=1.0, timestamp=START)])
    request.symbols.extend(table)
    return request.SerializeToString()


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
"""By the format's name: a message of one series with these labels."""


def _listed(frame: bytes) -> Callable[[list[bytes]], bytes]:
    return lambda each: frame % b",".join(each)


def _joined_otlp(each: list[bytes]) -> bytes:
    return json.dumps(
        {"resourceMetrics": [one for body in each for one in json.loads(body)["resourceMetrics"]]}
    ).encode()


_JOINED: dict[str, Callable[[list[bytes]], bytes]] = {
    "json": _listed(b"[%s]"),
    "vector": _listed(b"[%s]"),
    "telegraf": _listed(b'{"metrics":[%s]}'),
    "influx": b"\n".join,
    "prometheus": b"\n".join,
    "otlp_json": _joined_otlp,
    # Messages of protobuf one after the other are one, of all their elements.
    "otlp_protobuf": b"".join,
    "remote_write": b"".join,
}
ALONE = (*_JOINED, "remote_write_2")
"""Formats whose messages hold many samples, each of which stands alone."""


def many(name: str, each: Sequence[Labels]) -> bytes:
    """A message of these series, of a format in `ALONE`."""
    if name == "remote_write_2":
        return _remote_write_2(*each)
    return _JOINED[name]([MESSAGES[name](labels) for labels in each])
