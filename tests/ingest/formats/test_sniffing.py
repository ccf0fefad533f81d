"""A message that nothing names is told by how it looks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import DecodeError
from pipeline.ingest.formats.registry import by_name, choose
from tests.builders import START
from tests.ingest.formats import test_cloudevents, test_exposition, test_influx
from tests.ingest.formats.test_json_formats import ADAPTER, COUNTER, TELEGRAF, vector
from tests.ingest.promises import decode, fresh_context

LOOKS: list[tuple[str, Any]] = [
    ("json", {"name": "up", "labels": {"fields": "x", "metrics": "y", "kind": "z"}, "ts": START, "value": 1}),
    ("json", {"name": "up", "ts": START, "value": 1, "kind": "gauge"}),
    ("json", [{"name": "up", "ts": START, "value": 1}]),
    ("columnar", {"series": [], "ts": [], "value": []}),
    ("kafka_adapter", ADAPTER),
    ("telegraf", TELEGRAF),
    ("telegraf", {"metrics": [TELEGRAF]}),
    ("vector", COUNTER),
    ("vector", {"metric": COUNTER}),
    ("vector", [{"metric": COUNTER}]),
    ("vector", [COUNTER, COUNTER]),
    ("vector", vector("absolute", aggregated_summary={})),
    ("vector", {"log": {"message": "x"}}),
    ("cloudevents", test_cloudevents.event(data=TELEGRAF)),
    ("influx", b"cpu,host=a usage_idle=98.5 1767225600000000000"),
    ("influx", b"# a comment\n\ncpu usage_idle=98.5"),
    ("influx", rb"c\ pu,h\ ost=a\ b usage\ idle=98.5"),
    ("influx", b'cpu text="a b"'),
    ("prometheus", b"up 1"),
    ("prometheus", b'up{job="a b"} 1'),
    ("prometheus", b'up{expr="a =1"} 1'),
    ("prometheus", b'http_requests_total{path="/a/{id}",quote="\\"}"} 5'),
    ("prometheus", b'{"up"} 1'),
    ("prometheus", b"# TYPE up gauge\nup 1"),
    ("prometheus", b"# EOF"),
    ("prometheus", test_exposition.SCRAPE),
    ("prometheus", test_exposition.OPENMETRICS),
]


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(("name", "body"), LOOKS, ids=lambda value: value if isinstance(value, str) else None)
def test_the_format_shows(name: str, body: Any) -> None:
    """Each format is told from all others, with or without a content type that only says the syntax."""
    payload = encoded(body)
    assert choose(payload, None, "auto").name == name
    assert choose(payload, b"text/plain; charset=utf-8", "auto").name == name


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        (b"text/plain; version=0.0.4; charset=utf-8", "prometheus"),
        (b"application/openmetrics-text; version=1.0.0; charset=utf-8", "prometheus"),
        (b"application/cloudevents+json; charset=utf-8", "cloudevents"),
        (b"text/vnd.influx.line-protocol", "influx"),
    ],
)
def test_content_types_name_formats(content_type: bytes, name: str) -> None:
    """A content type that names a format is believed, whatever the message looks like."""
    assert choose(b"?", content_type, "auto").name == name


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"schemaUrl": "x", "resourceMetrics": []}, "`resourceMetrics` is of OTLP JSON"),
        ({"resource_metrics": []}, "`resource_metrics` is of OTLP JSON"),
        ({"ts": 5, "series": []}, "`series` is of columnar JSON"),
        ({"schemaUrl": "x"}, "missing required field `name`"),
    ],
)
def test_a_message_that_nothing_knows_is_told_what_it_nearly_is(body: Any, told: str) -> None:
    """What is taken for a JSON sample, as any object may be, and has another format's key is told of that format."""
    payload = encoded(body)
    found = decode(choose(payload, None, "auto"), payload, fresh_context())
    assert isinstance(found, DecodeError)
    assert told in str(found)
    assert found.reason == "fields"


def test_a_batch_is_told_of_on_a_topic_of_samples() -> None:
    """A topic's format is believed; that the message is another's is said."""
    found = decode(by_name("json"), encoded({"metrics": [TELEGRAF]}), fresh_context())
    assert "`metrics` is of Telegraf JSON" in str(found)


def test_an_unknown_content_type_is_told_the_formats() -> None:
    """Their names are few, their content types many: those are documented."""
    with pytest.raises(DecodeError, match=r"'application/xml' is not read here; the formats .* influx") as caught:
        choose(b"?", b"application/xml", "auto")
    assert "application/vnd" not in str(caught.value)


@pytest.mark.parametrize(
    "payload",
    [case[1] for case in test_influx.ACCEPTED if case[2]],
    ids=[case[0] for case in test_influx.ACCEPTED if case[2]],
)
def test_lines_of_all_kinds_are_seen(payload: bytes) -> None:
    """Whatever the line protocol can say is told from other text by its second word."""
    assert choose(payload, None, "auto").name == "influx"


@pytest.mark.parametrize(
    "parameters", ["version=0.0.4; charset=utf-8; escaping=values", "version=1.0.0;escaping=allow-utf-8"]
)
def test_a_scrape_of_prometheus_3_is_told_by_its_type(parameters: str) -> None:
    """What it adds to the type does not matter, not even where the topic is said to carry something else."""
    assert choose(b"up 1", f"text/plain; {parameters}".encode(), "influx") is by_name("prometheus")
