"""Events as the CloudEvents project's own Python SDK puts them on Kafka, in both of its modes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.bindings.kafka import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from conformance.checks import samples_of
from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from pipeline.stage import LogRecord, Topic
from tests.builders import START

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudevents.core.bindings.kafka import KafkaMessage

NOW = 1_795_572_900_000
GOLDEN = Path(__file__).parents[2] / "golden"
SAMPLE = {"name": "up", "labels": {"service": "a"}, "ts": START, "value": 1}
POINT = {"timeUnixNano": str(START * 1_000_000), "asDouble": 2.5}
OTLP = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "g", "gauge": {"dataPoints": [POINT]}}]}]}]}
WRITTEN = (GOLDEN / "prometheus-remote-write-1.0" / "003.bin").read_bytes()

# What is inside, its content type, and the bytes that it would be as a message of its own.
INSIDE: list[tuple[str, str | None, Any]] = [
    ("a sample", "application/json", SAMPLE),
    ("a sample, of no said type", None, SAMPLE),
    ("OTLP JSON", "application/json", OTLP),
    ("lines of text", "text/plain", f"cpu,host=a idle=98.5,user=1 {START}\nmem,host=a free=5i {START}"),
    ("an exposition", "text/plain", f'up{{job="a"}} 1 {START}\n'),
    ("bytes of remote write", "application/x-protobuf", WRITTEN),
]


def ingested(value: bytes, headers: dict[str, bytes]) -> list[str]:
    """The samples of a message that nothing is refused of, as texts: NaN is not equal to itself."""
    stage = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1)
    record = LogRecord("duri.metrics", 0, 0, NOW, b"a", value, list(headers.items()))
    outputs = stage.step([record])
    assert {output.topic for output in outputs} == {Topic.SAMPLES}
    return [repr(sample) for output in outputs for sample in samples_of(output.value)]


@pytest.mark.parametrize("mode", [to_structured, to_binary])
@pytest.mark.parametrize(("content_type", "data"), [case[1:] for case in INSIDE], ids=[case[0] for case in INSIDE])
def test_an_event_gives_what_is_inside(mode: Callable[..., KafkaMessage], content_type: str | None, data: Any) -> None:
    """Whatever format is inside, the samples are those of the message without its envelope."""
    attributes = {"id": "17", "type": "metrics", "source": "/host/a", "specversion": "1.0"}
    attributes["time"] = datetime.fromtimestamp(NOW / 1000, UTC)
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    message = mode(CloudEvent(attributes, data), JSONFormat())
    plain = JSONFormat().write_data(data, content_type)
    expected = ingested(plain, {})
    assert expected
    assert ingested(message.value, message.headers) == expected
    # Told by looking at it as well, where Kafka's headers were lost on the way.
    assert ingested(message.value, {}) == expected
