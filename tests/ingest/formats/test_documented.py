"""What docs/formats.md shows is read, and what ingest makes of bad lines among good ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ingest.formats import choose
from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from tests.builders import message
from tests.ingest.formats.reading import rows
from tests.ingest.test_ingest_stage import all_rows, dead

PAGE = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
SECTIONS = [
    ("Influx line protocol", "influx", ["mem_free", "mem_available_percent", "cpu_usage_idle", "cpu_usage_user"]),
    ("Telegraf JSON", "telegraf", ["mem_free", "mem_available_percent"]),
    (
        "Prometheus and OpenMetrics text",
        "prometheus",
        ["http_requests_total", "rpc_seconds_bucket", "rpc_seconds_bucket"],
    ),
    ("Vector", "vector", ["web_requests"]),
    ("prometheus-kafka-adapter", "kafka_adapter", ["up"]),
    ("CloudEvents", "cloudevents", ["cpu_usage_idle"]),
]


@pytest.mark.parametrize(("section", "name", "series"), SECTIONS, ids=[section[1] for section in SECTIONS])
def test_documented_examples_are_read(section: str, name: str, series: list[str]) -> None:
    """The example of each section is told by its looks, and gives the series that it shows."""
    found = re.search(rf"^## {section}\n.*?^```\w*\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    payload = found[1].encode()
    assert choose(payload, None, "auto").name == name
    assert [row[0] for row in rows(name, payload)] == series


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
