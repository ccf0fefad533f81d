"""What producers may send onto `duri.metrics`, as messages of the AsyncAPI document: one a format that ingest reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipeline.ingest.formats.registry import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.ingest.formats.registry import Format

Json = dict[str, Any]

_RECORD: Final = "json"
"""The format that is a public record of ours, `sample`, with its schema."""

_TITLES: Final[Mapping[str, tuple[str, str]]] = {
    "remote_write": ("Prometheus remote write 1.0", "Snappy block of prometheus.WriteRequest"),
    "remote_write_2": ("Prometheus remote write 2.0", "Snappy block of io.prometheus.write.v2.Request"),
    "otlp_protobuf": ("OpenTelemetry metrics in protobuf", "ExportMetricsServiceRequest"),
    "otlp_json": ("OpenTelemetry metrics in JSON", "ExportMetricsServiceRequest; 64-bit integers are strings"),
    "columnar": ("Columns of samples in JSON", "The series once, then columns: series, index, ts, value"),
    "cloudevents": ("CloudEvent in structured JSON", "An envelope around a message of any other format"),
    "vector": ("Vector metric", "A metric of the codec json or native_json, or an array of them"),
    "telegraf": ("Telegraf JSON", "One metric, or a batch of them under metrics"),
    "kafka_adapter": ("prometheus-kafka-adapter", "JSON or Avro-JSON, one sample; its value is a text"),
    "prometheus": ("Prometheus or OpenMetrics text", "The body of a scrape"),
    "arrow": (
        "Columns of samples in Arrow",
        "IPC stream: series uint64, ts int64 (ms), value float64, labels binary (at a series' first row)",
    ),
    "influx": ("Influx line protocol", "Lines of measurement, tags, fields and time"),
}
_COLUMNAR: Final[Json] = {
    "type": "object",
    "required": ["series", "ts", "value"],
    "properties": {
        "series": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "index": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "ts": {"description": "One for each row, or one for all", "type": ["array", "number", "string"]},
        "value": {"type": "array", "items": {"type": "number"}},
    },
}
_JSON: Final[Json] = {"type": ["object", "array"]}
_TEXT: Final[Json] = {"type": "string"}
_BYTES: Final[Json] = {"type": "string", "format": "binary"}
_PAYLOADS: Final[Mapping[str, Json]] = {"columnar": _COLUMNAR, "prometheus": _TEXT, "influx": _TEXT}


def format_messages(bindings: Json) -> dict[str, Json]:
    """Each format's message by its name in settings; the JSON sample is not among them, being a record."""
    return {entry.name: _message(entry, bindings) for entry in FORMATS if entry.name != _RECORD}


def _message(entry: Format, bindings: Json) -> Json:
    title, summary = _TITLES[entry.name]
    content_type = entry.content_types[0]
    payload = _PAYLOADS.get(entry.name) or (_JSON if content_type.endswith("json") else _BYTES)
    return {
        "name": entry.name,
        "title": title,
        "summary": summary,
        "contentType": content_type,
        "payload": payload,
        "bindings": bindings,
    }
