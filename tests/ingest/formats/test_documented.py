"""What docs/formats.md shows is read, and what ingest makes of bad lines among good ones."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ingest.formats.registry import FORMATS, choose
from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from tests.builders import message
from tests.ingest.formats.reading import rows
from tests.ingest.test_ingest_stage import all_rows, dead

PAGE = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
SECTIONS = [
    ("JSON samples", "json", ["http_requests_total"]),
    ("Columnar JSON", "columnar", ["up", "up", "up"]),
    ("Influx line protocol", "influx", ["mem_free", "mem_available_percent", "cpu_usage_idle", "cpu_usage_user"]),
    ("Telegraf JSON", "telegraf", ["mem_free", "mem_available_percent"]),
    (
        "Prometheus and OpenMetrics text",
        "prometheus",
        ["http_requests_total", "rpc_seconds_bucket", "rpc_seconds_bucket"],
    ),
    ("OpenTelemetry (OTLP)", "otlp_json", ["http.server.requests"]),
    ("Vector", "vector", ["web_requests"]),
    ("prometheus-kafka-adapter", "kafka_adapter", ["up"]),
    ("CloudEvents", "cloudevents", ["cpu_usage_idle"]),
]


@pytest.mark.parametrize(("section", "name", "series"), SECTIONS, ids=[section[1] for section in SECTIONS])
def test_documented_examples_are_read(section: str, name: str, series: list[str]) -> None:
    """The example of each section is told by its looks, and gives the series that it shows."""
    found = re.search(rf"^## {re.escape(section)}\n.*?^```\w*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    payload = found[1].encode()
    assert choose(payload, None, "auto").name == name
    assert [row[0] for row in rows(name, payload)] == series


@pytest.mark.parametrize(
    ("section", "number", "name", "series"),
    [
        ("Prometheus remote write", 0, "remote_write", ["up"]),
        ("Prometheus remote write", 1, "remote_write_2", ["up"]),
        ("OpenTelemetry (OTLP)", 0, "otlp_protobuf", ["http.server.requests"]),
    ],
)
def test_documented_messages_are_read(section: str, number: int, name: str, series: list[str]) -> None:
    """Those of binary formats are shown in base64."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    assert text is not None
    blocks = re.findall(r"^```\n([A-Za-z0-9+/=\n]+)^```", text[1], re.MULTILINE)
    payload = base64.b64decode(blocks[number])
    assert choose(payload, None, "auto").name == name
    assert [row[0] for row in rows(name, payload)] == series


def test_the_documented_way_to_arrow_is_one() -> None:
    """The lines of Python make a message that is read."""
    text = re.search(r"^## Arrow\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert text is not None
    made: dict[str, bytes] = {}
    exec(text[1], made)  # noqa: S102  our own page
    assert choose(made["message"], None, "auto").name == "arrow"
    assert [row[0] for row in rows("arrow", made["message"])] == ["up"]


def test_the_page_lists_every_format() -> None:
    """A line for each, with its content types and what it was tried with."""
    table = re.findall(r"^\| .*? \| `(\w+)` \| (.*?) \| .*? \| (.+?) \|$", PAGE, re.MULTILINE)
    assert sorted(name for name, _, _ in table) == sorted(entry.name for entry in FORMATS)
    for name, content_types, _ in table:
        shown = re.findall(r"`(.*?)`", content_types)
        assert shown
        assert {choose(b"?", one.encode(), "auto").name for one in shown} == {name}


def test_bad_lines_are_letters_of_their_own() -> None:
    """Good lines pass; a bad one is a dead letter with its position, and sent again it fails by itself."""
    stage = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=4)
    outputs = stage.step([message(0, b"cpu,host=a idle=1\ncpu,host=a idle=x\ncpu,host=a idle=2 1767225600001")])
    assert [(name, value) for name, _, _, value in all_rows(outputs)] == [("cpu_idle", 1.0), ("cpu_idle", 2.0)]
    [letter] = dead(outputs)
    assert letter.value == b"cpu,host=a idle=x"
    headers = dict(letter.headers)
    assert headers["duri.error.position"] == b"line 2"
    assert headers["duri.error.reason"] == b"fields"
    again = stage.step([replace(message(1, letter.value), headers=letter.headers)])
    assert [one.value for one in dead(again)] == [letter.value]
