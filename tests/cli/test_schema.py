from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest
import typer
import yaml
from typer.testing import CliRunner

from pipeline import records
from pipeline.cli.schema import schema
from pipeline.detect.frames import FrameWriter, ServiceFrame, Source
from pipeline.errors import DecodeError
from pipeline.ingest.deadletters import dead_letter
from pipeline.ingest.formats.registry import FORMATS
from pipeline.records import PUBLIC_RECORDS, cloudevent_headers
from pipeline.settings import Settings, load_settings
from pipeline.stage import LogRecord, Topic
from pipeline.views.asyncapi import DIALECT, asyncapi, json_schema, schema_names

if TYPE_CHECKING:
    from pipeline.records import Record

APP = typer.Typer()
APP.command()(schema)

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PLACE = records.Provenance(topic="duri.samples", partition=1, offset=42)

EXAMPLES: dict[str, Record] = {
    one.kind_name: one
    for one in (
        records.Sample(name="http_requests_total", labels={"service": "duri_core"}, ts=1767614400, value=17.0),
        records.ChangeEvent(id="c1", at=AT, service="duri_core", version="1.4.0"),
        records.Feedback(id="f1", at=AT, recommendation="r1", verdict="applied"),
        records.MaintenanceWindow(id="m1", at=AT, start=AT, end=AT),
        records.Muting(id="q1", at=AT, signals=["http.rps"], until=AT),
        records.ModelMove(id="v1", at=AT, model="services-forest", number=1, action="promote", live="4f0c1a2b3c4d"),
        records.ModelAnswer(id="v2", at=AT, model="services-forest", number=1, accepted=True, partition=0, offset=7),
        records.ShadowTally(
            id="v3",
            at=AT,
            model="services-forest",
            shadow="4f0c1a2b3c4d",
            partition=0,
            since=AT,
            hours=24.0,
            service_days=3.0,
            both=1,
            only_shadow=2,
            only_live=0,
            neither=4000,
            shadow_episodes=2,
            shadow_lone=1,
            live_episodes=1,
            live_lone=0,
        ),
        records.RetrainingDue(
            id="v4", at=AT, since=AT, model="services-forest", version="4f0c1a2b3c4d", partition=0, reason="drift"
        ),
        records.Tick(at=AT),
        records.Watermark(source_partition=1, until=AT),
        records.SourceIdle(source="duri.metrics/0"),
        records.Frame(
            service="duri_core",
            start=AT,
            end=AT,
            signals={"http.rps": records.SignalFrame(value=None)},
            settings={"pool.size": 10.0},
            anomalies=[
                records.OpenAnomaly(
                    id="a1",
                    signal="http.rps",
                    severity=records.Severity.WARNING,
                    direction=records.Direction.UP,
                    score=0.8,
                    detectors=[records.Detector.LEARNED],
                    opened_at=AT,
                    observed=3.0,
                    expected=None,
                )
            ],
            source=PLACE,
        ),
        records.Anomaly(
            id="a1",
            state=records.AnomalyState.OPENED,
            severity=records.Severity.CRITICAL,
            service="duri_core",
            labels={},
            signal="app.pool.utilisation",
            unit="1",
            opened_at=AT,
            last_at=AT,
            observed=0.99,
            expected=0.4,
            lower=0.2,
            upper=0.6,
            score=1.0,
            direction=records.Direction.UP,
            detectors=[
                records.Firing(
                    detector=records.Detector.STATIC, severity=records.Severity.CRITICAL, score=1.0, since=AT
                )
            ],
            recent=[0.4, None, 0.99],
            provenance=PLACE,
        ),
        records.Incident(
            id="i1",
            state=records.IncidentState.OPENED,
            severity=records.Severity.CRITICAL,
            system="default",
            services=["duri_core"],
            cause="duri_core",
            summary="duri_core: pool exhausted",
            opened_at=AT,
            last_at=AT,
            anomalies=["a1"],
        ),
        records.Recommendation(
            id="r1",
            kind="pool_size",
            category="tuning",
            created=AT,
            updated=AT,
            expires=AT,
            target=records.Target(service="duri_core", component="application"),
            state=records.RecommendationState.PROPOSED,
            severity=records.Severity.CRITICAL,
            rank=1,
            confidence=0.9,
            why=records.Why(
                findings=["pool_exhausted"],
                reason="All connections are in use",
                evidence=[
                    records.Evidence(
                        signal="app.pool.utilisation",
                        observed=0.99,
                        expected=0.4,
                        window_start=AT,
                        window_end=AT,
                        contribution=1.0,
                    )
                ],
            ),
            change=records.Change(parameter="pool_size", current=10.0, recommended=20.0),
            how=records.How(commands=[records.Command(via="env", run="POOL_SIZE=20")], restart_required=True),
            effect=records.Effect(signal="http.latency.p95", text="falls", basis="Little's law"),
            risk="low",
            undo=[records.Command(via="env", run="POOL_SIZE=10")],
            verification=records.Verification(signal="app.pool.utilisation", condition="< 0.8", after_s=600.0),
            provenance=records.RecommendationProvenance(rule="pool.size", rule_version="1", inputs=[PLACE]),
        ),
        records.Outcome(
            id="o1",
            recommendation="r1",
            rule="pool.size",
            at=AT,
            result="verified",
            signal="app.pool.utilisation",
            before=0.99,
            after=0.6,
        ),
    )
}


def validator(name: str) -> jsonschema.Draft202012Validator:
    document = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document, format_checker=jsonschema.FormatChecker())


# --- JSON Schema ----------------------------------------------------------------------------------------------


def test_every_record_has_an_example():
    """A record added to the public ones is added here too."""
    assert EXAMPLES.keys() == {record.kind_name for record in PUBLIC_RECORDS}


@pytest.mark.parametrize("name", [record.kind_name for record in PUBLIC_RECORDS])
def test_example_fits_its_schema(name):
    """What a record's own code writes is what its schema promises; the dialect, id and version are named."""
    document = json_schema(name)
    assert (document["$schema"], document["$id"]) == (DIALECT, f"urn:duri:schema:{name}:v1")
    assert document["version"] == records.SCHEMA_VERSION
    validator(name).validate(json.loads(EXAMPLES[name].model_dump_json()))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("anomaly", {"score": 1.5}),
        ("anomaly", {"state": "reopened"}),
        ("recommendation", {"rank": 0}),
        ("recommendation", {"surprise": 1}),
        ("outcome", {"result": None}),
        ("sample", {"value": "17"}),
    ],
)
def test_schema_refuses_what_the_record_refuses(name, change):
    """Bounds, states and unknown fields are part of the schema."""
    wrong = {**json.loads(EXAMPLES[name].model_dump_json()), **change}
    assert not validator(name).is_valid(wrong)


def test_outputs_promise_every_field():
    """Who subscribes may rely on fields that have a default, but for those said to be absent; who publishes may not."""
    anomaly = json_schema("anomaly")
    assert anomaly["properties"].keys() - anomaly["required"] == {"contributions", "ranked"}
    validator("change").validate({"id": "c1", "at": "2026-01-05T12:00:00Z", "service": "duri_core"})


def test_frames_as_they_are_written_fit():
    """The stage writes frames without building the record; they keep its schema all the same."""
    values = np.array([1.0, np.nan])
    frame = ServiceFrame("duri_core", values, values, values, values, np.array([0.0, 0.0]), np.array([10.0]), [])
    output = FrameWriter(["http.rps", "http.error_ratio"], ["pool.size"]).output(
        frame, 0, 60_000, Source("duri.samples", 0, 7)
    )
    validator("frame").validate(json.loads(output.value))


def test_settings_schema():
    """Every key of the settings with its meaning and bounds; no secret and no path of this machine in it."""
    document = json_schema("settings")
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$defs"]["TopicSettings"]["properties"]["samples_partitions"]["minimum"] == 1
    assert document["$defs"]["KafkaSettings"]["properties"]["sasl_password"]["anyOf"][0]["format"] == "password"
    assert str(load_settings().config_dir) not in json.dumps(document)
    validator("settings").validate(yaml.safe_load((load_settings().config_dir / "duri.yaml").read_text()))


# --- AsyncAPI -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(json.dumps(asyncapi(load_settings())))


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [one for value in node.values() for one in references(value)]
    return [one for value in node for one in references(value)] if isinstance(node, list) else []


def resolve(document: dict[str, Any], reference: str) -> dict[str, Any]:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def test_asyncapi_references_resolve(document):
    """Every reference leads somewhere within the document."""
    found = references(document)
    assert len(found) > 50
    for reference in found:
        assert reference.startswith("#/")
        assert resolve(document, reference)


def test_asyncapi_has_what_the_specification_asks_for(document):
    """Version, info, and for each operation an action on a channel that exists."""
    assert document["asyncapi"] == "3.0.0"
    assert document["info"]["title"]
    assert document["info"]["version"]
    for operation in document["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]
    for message in document["components"]["messages"].values():
        assert message["payload"]
        assert message["contentType"]


def test_asyncapi_has_every_topic_and_record(document):
    """All topics but the program's private ones, named and sized as set; every public record on at least one."""
    channels = document["channels"]
    assert channels.keys() == {topic.value for topic in Topic} - {Topic.STATE, Topic.POSITIONS}
    assert channels["samples"]["address"] == "duri.samples"
    assert channels["samples"]["bindings"]["kafka"]["partitions"] == 4
    carried = {name for channel in channels.values() for name in channel["messages"]}
    assert carried >= EXAMPLES.keys()
    assert carried == document["components"]["messages"].keys()


def test_asyncapi_has_every_format_that_ingest_reads(document):
    """The metrics topic carries a message for each, with the content type that names it; JSON samples are a record."""
    messages = document["channels"]["metrics"]["messages"]
    assert messages.keys() == {"sample"} | {entry.name for entry in FORMATS if entry.name != "json"}
    for entry in FORMATS:
        if entry.name != "json":
            message = resolve(document, messages[entry.name]["$ref"])
            assert message["contentType"] == entry.content_types[0]
            assert message["summary"]


def test_asyncapi_follows_the_settings():
    """Prefix and address are those of the settings; the password is not in it."""
    settings = Settings.model_validate(
        {
            "kafka": {
                "bootstrap": "kafka:9093",
                "security_protocol": "SASL_SSL",
                "sasl_username": "duri",
                "sasl_password": "hunter2",
            },
            "topics": {"prefix": "shop."},
        }
    )
    document = asyncapi(settings)
    assert document["channels"]["anomalies"]["address"] == "shop.anomalies"
    assert document["servers"]["kafka"]["protocol"] == "kafka-secure"
    assert "hunter2" not in json.dumps(document)


@pytest.mark.parametrize("name", ["anomaly", "frame", "recommendation", "change"])
def test_headers_as_they_are_written_fit(document, name):
    """The CloudEvents headers that records carry are those that the document describes."""
    headers = cloudevent_headers(EXAMPLES[name].event_type(), "/detect/x", "id", 0)
    schema = document["components"]["messages"][name]["headers"]
    assert schema["properties"].keys() == dict(headers).keys()
    jsonschema.validate({key: value.decode() for key, value in headers}, schema)


def test_dead_letter_headers_fit(document):
    """The same for the reasons that dead letters carry."""
    record = LogRecord("duri.metrics", 0, 1, 0, None, None)
    headers = dict(dead_letter(record, DecodeError("no"), stage="ingest").headers)
    schema = document["components"]["messages"]["deadletter"]["headers"]
    assert schema["properties"].keys() == headers.keys()
    full = dict(dead_letter(replace(record, value=b"x"), DecodeError("no"), stage="ingest").headers)
    assert set(schema["required"]) == full.keys()


# --- the command ----------------------------------------------------------------------------------------------


def test_command_lists_names():
    """Alone it lists what there is."""
    result = CliRunner().invoke(APP, [])
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == [*schema_names(), "asyncapi"]


def test_command_prints_one():
    """A record's schema is JSON, the AsyncAPI document YAML."""
    assert json.loads(CliRunner().invoke(APP, ["anomaly"]).output)["title"] == "Anomaly"
    assert yaml.safe_load(CliRunner().invoke(APP, ["asyncapi"]).output)["asyncapi"] == "3.0.0"


def test_command_writes_all(tmp_path):
    """With a folder everything is written there, and each file is named."""
    folder = tmp_path / "new" / "folder"
    result = CliRunner().invoke(APP, ["-o", str(folder)])
    assert result.exit_code == 0, result.output
    names = {path.name for path in folder.iterdir()}
    assert names == {"asyncapi.yaml", *(f"{name}.schema.json" for name in schema_names())}
    assert len(result.output.splitlines()) == len(names)


def test_command_refuses_unknown_names():
    """A wrong name gets the list of right ones, and exit status 2."""
    result = CliRunner().invoke(APP, ["anomalie"])
    assert result.exit_code == 2
    assert "anomaly" in result.output
