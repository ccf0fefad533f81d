"""What flows over the topics, for programs: a JSON Schema for each record, and one AsyncAPI document of all topics.

Both are made from the records and settings as they are in the code, so they cannot be behind it.
JSON Schema: draft 2020-12. AsyncAPI: 3.0.0, with the Kafka bindings 0.5.0.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from pipeline.ingest.deadletters import NULL
from pipeline.records import (
    JSON_CONTENT_TYPE,
    PART_TYPE,
    PUBLIC_RECORDS,
    SCHEMA_VERSION,
    Anomaly,
    ChangeEvent,
    Feedback,
    Frame,
    Incident,
    MaintenanceWindow,
    ModelAnswer,
    ModelMove,
    Muting,
    Outcome,
    Recommendation,
    RetrainingDue,
    Sample,
    ShadowTally,
    SourceIdle,
    Tick,
    Watermark,
)
from pipeline.settings import Settings
from pipeline.stage import Topic
from pipeline.views.wire_formats import format_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core.core_schema import DataclassField, ModelField, TypedDictField

    from pipeline.records import Record

Json = dict[str, Any]
Mode = Literal["validation", "serialization"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SETTINGS = "settings"

_BINDING_VERSION = "0.5.0"
_KEY: Json = {"kafka": {"key": {"type": "string"}, "bindingVersion": _BINDING_VERSION}}
_FORMATS = format_messages(_KEY)
_PRODUCED_BY_OTHERS: tuple[type[Record], ...] = (Sample, ChangeEvent, Feedback, MaintenanceWindow, Muting)


class _Channel(NamedTuple):
    """A topic as a reader of the document needs it."""

    title: str
    records: tuple[type[Record], ...]
    others: tuple[str, ...]
    """Messages that are no records of ours, by name in `_OTHER_MESSAGES`."""
    key: str
    received_by: tuple[str, ...]
    sent_by: tuple[str, ...]


_CHANNELS: Mapping[Topic, _Channel] = {
    Topic.METRICS: _Channel(
        "Metric samples from any producer",
        (Sample,),
        (*_FORMATS,),
        "free; names the service where no label does",
        ("ingest",),
        (),
    ),
    Topic.CONTROL: _Channel(
        "What people and tools say: changes, feedback, maintenance windows, mutes, which trained models run; and what "
        "became of the last",
        (ChangeEvent, Feedback, MaintenanceWindow, Muting, ModelMove, ModelAnswer, ShadowTally, RetrainingDue),
        (),
        "free",
        ("ingest",),
        ("ingest", "detect"),
    ),
    Topic.SAMPLES: _Channel(
        "Canonical batches; all series of one service share a partition",
        (SourceIdle, Tick, Feedback, MaintenanceWindow, ModelMove),
        ("arrow", "model_part"),
        "none; the partition is the hash of the service",
        ("detect",),
        ("ingest", "detect"),
    ),
    Topic.FRAMES: _Channel(
        "One service in one frame interval, and how far each source partition is",
        (Frame, Watermark, Tick, ChangeEvent, Feedback, MaintenanceWindow, Muting),
        (),
        "the system",
        ("advise",),
        ("detect", "ingest"),
    ),
    Topic.ANOMALIES: _Channel("Anomalies, a record a change of state", (Anomaly,), (), "the service", (), ("detect",)),
    Topic.INCIDENTS: _Channel("Incidents, a record a change", (Incident,), (), "the system", (), ("advise",)),
    Topic.RECOMMENDATIONS: _Channel(
        "Recommendations, a record a change", (Recommendation,), (), "the service", (), ("advise",)
    ),
    Topic.OUTCOMES: _Channel(
        "What came of recommendations and deploys; signals that were quietened",
        (Outcome, Muting),
        (),
        "the service",
        (),
        ("advise",),
    ),
    Topic.DEADLETTER: _Channel(
        "What could not be read, byte for byte, with the reason", (), ("deadletter",), "the original's", (), ("ingest",)
    ),
}
"""Every topic but `state` and `positions`, which are private to the program."""


def schema_names() -> dict[str, str]:
    """Names of all schemas with one line about each."""
    names = {record.kind_name: _first_line(record.__doc__) for record in PUBLIC_RECORDS}
    return {**names, SETTINGS: _first_line(Settings.__doc__)}


def json_schema(name: str) -> Json:
    """The JSON Schema of a record by its `kind_name`, or of the settings. Raises KeyError for any other name."""
    if name == SETTINGS:
        return {"$schema": DIALECT, "$id": "urn:duri:schema:settings", **Settings.model_json_schema()}
    record = {one.kind_name: one for one in PUBLIC_RECORDS}[name]
    return {
        "$schema": DIALECT,
        "$id": f"urn:duri:schema:{name}:v{SCHEMA_VERSION}",
        "version": SCHEMA_VERSION,
        **record.model_json_schema(mode=_mode(record), schema_generator=_Generator),
    }


def _mode(record: type[Record]) -> Mode:
    return "validation" if record in _PRODUCED_BY_OTHERS else "serialization"


class _Generator(GenerateJsonSchema):
    """What others write may leave out what has a default; what we write leaves out what it says it leaves out."""

    def field_is_required(self, field: ModelField | DataclassField | TypedDictField, total: bool) -> bool:
        if self.mode == "serialization":
            return field.get("serialization_exclude_if") is None
        return super().field_is_required(field, total)


def asyncapi(settings: Settings) -> Json:
    """The AsyncAPI document of the topics as these settings name and size them; holds no secret."""
    models = [(record, _mode(record)) for record in PUBLIC_RECORDS]
    template = "#/components/schemas/{model}"
    schemas = models_json_schema(models, ref_template=template, schema_generator=_Generator)[1]["$defs"]
    messages = {record.kind_name: _record_message(record) for record in PUBLIC_RECORDS}
    return {
        "asyncapi": "3.0.0",
        "id": "urn:duri:pipeline",
        "info": {
            "title": "DuRi pipeline",
            "version": version("duri-pipeline"),
            "description": (
                "Metric samples go in on Kafka, tuning recommendations come out on Kafka. Records are JSON with "
                "CloudEvents 1.0 headers (binary mode). Read with isolation.level=read_committed: outputs are "
                f"written in transactions. {settings.topics.name(Topic.STATE)} is private to the workers, and "
                f"{settings.topics.name(Topic.POSITIONS)} to `duri bridge` and `duri backfill`."
            ),
            "license": {"name": "MIT"},
        },
        "defaultContentType": JSON_CONTENT_TYPE,
        "servers": {"kafka": _server(settings)},
        "channels": {topic.value: _channel(topic, channel, settings) for topic, channel in _CHANNELS.items()},
        "operations": dict(
            operation for topic, channel in _CHANNELS.items() for operation in _operations(topic, channel)
        ),
        "components": {"messages": {**messages, **_OTHER_MESSAGES}, "schemas": schemas},
    }


def _server(settings: Settings) -> Json:
    encrypted = settings.kafka.security_protocol.endswith("SSL")
    return {
        "host": "{bootstrap}",
        "protocol": "kafka-secure" if encrypted else "kafka",
        "description": f"security.protocol {settings.kafka.security_protocol}",
        "variables": {"bootstrap": {"default": settings.kafka.bootstrap, "description": "host:port[,host:port…]"}},
    }


def _channel(topic: Topic, channel: _Channel, settings: Settings) -> Json:
    names = _message_names(channel)
    return {
        "address": settings.topics.name(topic),
        "title": channel.title,
        "description": f"Key: {channel.key}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": settings.topics.name(topic),
                "partitions": settings.topics.partitions(topic),
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }


def _message_names(channel: _Channel) -> list[str]:
    return [*(record.kind_name for record in channel.records), *channel.others]


def _operations(topic: Topic, channel: _Channel) -> list[tuple[str, Json]]:
    """What the stages do with the topic; `send` and `receive` are meant from their side."""
    doers = [*(("receive", stage) for stage in channel.received_by), *(("send", stage) for stage in channel.sent_by)]
    return [
        (
            f"{stage}.{action}.{topic.value}",
            {
                "action": action,
                "channel": {"$ref": f"#/channels/{topic.value}"},
                "summary": f"{stage} {'reads' if action == 'receive' else 'writes'} {topic.value}",
            },
        )
        for action, stage in doers
    ]


# --- messages -------------------------------------------------------------------------------------------------


def _text(description: str, const: str | None = None) -> Json:
    return {"type": "string", "description": description, **({} if const is None else {"const": const})}


def _record_message(record: type[Record]) -> Json:
    message = {
        "name": record.event_type(),
        "title": record.__name__,
        "summary": _first_line(record.__doc__),
        "contentType": JSON_CONTENT_TYPE,
        "payload": {"$ref": f"#/components/schemas/{record.__name__}"},
        "bindings": _KEY,
    }
    # A sample may come from anybody's producer, which knows nothing of CloudEvents.
    return message if record is Sample else {**message, "headers": _cloudevent(record)}


def _cloudevent(record: type[Record]) -> Json:
    """The headers that `records.cloudevent_headers` writes."""
    properties = {
        "ce_specversion": _text("Version of CloudEvents", "1.0"),
        "ce_type": _text("Kind of record and version of its schema", record.event_type()),
        "ce_source": _text("Who wrote it, for instance /detect/duri_core"),
        "ce_id": _text("The same for a repeated record"),
        "ce_time": {**_text("Time of the event, ISO 8601 in UTC"), "format": "date-time"},
        "content-type": _text("Of the value", JSON_CONTENT_TYPE),
    }
    # The one that only a careful producer sends; readers go by ce_type.
    required = ["ce_type"] if record in _PRODUCED_BY_OTHERS else list(properties)
    return {"type": "object", "properties": properties, "required": required}


_BYTES: Json = {"type": "string", "format": "binary"}
_ERRORS: Mapping[str, str] = {
    "stage": "Stage that could not read it",
    "class": "Class of the error",
    "reason": "Short, countable reason",
    "message": "What was wrong",
    "topic": "Topic that it came from",
    "partition": "Partition that it came from",
    "offset": "Offset that it came from",
    NULL: "true where the original had no value; absent otherwise",
}
_OTHER_MESSAGES: Mapping[str, Json] = {
    **_FORMATS,
    "model_part": {
        "name": PART_TYPE,
        "title": "Piece of a trained model",
        "summary": "Manifest and model file, packed, in pieces ahead of the move that needs them",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {
                "ce_type": _text("Kind of record and version of its form", PART_TYPE),
                "ce_subject": _text("Model and version, with a slash between"),
                "duri_part": _text("Number of the piece from 0, and how many there are, with a slash between"),
            },
            "required": ["ce_type", "ce_subject", "duri_part"],
        },
        "payload": _BYTES,
        "bindings": _KEY,
    },
    "deadletter": {
        "name": "deadletter",
        "title": "Dead letter",
        "summary": "Original key, value and headers; beside them why it could not be read",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {f"duri.error.{name}": _text(text) for name, text in _ERRORS.items()},
            "required": [f"duri.error.{name}" for name in _ERRORS if name != NULL],
        },
        "payload": _BYTES,
        "bindings": _KEY,
    },
}


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0].rstrip(".")
