"""Times that an event around samples says: one window, whatever reads the message and whatever was read before."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.stage import LogRecord
from tests.builders import START
from tests.ingest.test_ingest_stage import all_rows, dead, reason, stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.stage import Headers

HOUR = 3_600_000
TIME = "2026-01-01T00:50:00Z"


def message(body: bytes, headers: Headers = ()) -> LogRecord:
    return LogRecord("duri.metrics", 0, 0, START, None, body, list(headers))


def otlp(ts: int) -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="queue")
    metric.gauge.data_points.add(time_unix_nano=ts * 1_000_000, as_double=1.0)
    return request.SerializeToString()


def test_a_known_series_is_judged_like_a_new_one() -> None:
    """The window lies around the event's time, ten hours ago, so that now is its future."""
    headers = (("content-type", b"application/x-protobuf"), ("ce_time", b"2025-12-31T14:00:00Z"))
    one = stage()
    for headers_of in (headers, headers[:1], headers):
        outputs = one.step([message(otlp(START), headers=headers_of)])
        assert [reason(letter) for letter in dead(outputs)] == (["future"] if headers_of is headers else [])


def test_an_events_window_is_wider_than_its_messages() -> None:
    """A sample an hour ahead of an event 50 minutes ahead passes, decoded or scanned; one more minute does not."""
    headers = (("ce_time", TIME.encode()),)
    one = stage()
    for minutes, refused in ((110, []), (110, []), (111, ["future"]), (110, [])):
        outputs = one.step([message(otlp(START + minutes * 60_000), headers=headers), message(otlp(START))])
        assert [reason(letter) for letter in dead(outputs)] == refused
        assert len(all_rows(outputs)) == 2 - len(refused)


def test_a_line_beyond_the_events_window_is_refused_alone() -> None:
    """Event 50 minutes ahead, one line 70 minutes ahead: within an hour of the event."""
    lines = f"cpu a=1 {(START + 70 * 60_000) * 1_000_000}\ncpu a=1 {(START + 2 * HOUR) * 1_000_000}\ncpu a=2"
    event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "m", "time": TIME, "data": lines}
    outputs = stage().step([message(json.dumps(event).encode())])
    assert sorted(ts - START for _, _, ts, _ in all_rows(outputs)) == [50 * 60_000, 70 * 60_000]
    assert [reason(letter) for letter in dead(outputs)] == ["future"]


def test_a_piece_of_an_event_keeps_its_time() -> None:
    """A line that was refused inside an envelope is sent again, mended or not: its time is still the event's."""
    event = {"specversion": "1.0", "id": "1", "source": "/a", "type": "m", "time": TIME, "data": "cpu a=1\nbad"}
    [letter] = dead(stage().step([message(json.dumps(event).encode())]))
    assert dict(letter.headers)["ce_time"] == TIME.encode()
    outputs = stage().step([message(b"cpu a=1", headers=tuple(letter.headers))])
    assert [ts - START for _, _, ts, _ in all_rows(outputs)] == [50 * 60_000]


@pytest.mark.parametrize("spelt", [str.lower, str.title, str.upper])
def test_headers_are_known_however_they_are_spelt(spelt: Callable[[str], str]) -> None:
    """HTTP's names have no case, and bridges pass them on as they like; a piece has none of them twice."""
    body = gzip.compress(b"a 1\nbad {\n")
    given = [("content-type", b"text/plain; version=0.0.4"), ("content-encoding", b"gzip"), ("ce_time", TIME.encode())]
    headers = tuple((spelt(name), value) for name, value in given)
    outputs = stage().step([message(body, headers=headers)])
    assert [(name, ts - START) for name, _, ts, _ in all_rows(outputs)] == [("a", 50 * 60_000)]
    [letter] = dead(outputs)
    names = [name.lower() for name, _ in letter.headers]
    assert "content-encoding" not in names
    assert (names.count("content-type"), names.count("ce_time")) == (1, 1)


@pytest.mark.parametrize("name", ["ce_time", "content-encoding", "content-type"])
def test_a_header_without_a_value_says_nothing(name: str) -> None:
    """Kafka allows it."""
    outputs = stage().step([message(b"cpu a=1", headers=cast("Any", [(name, None)]))])
    assert len(all_rows(outputs)) == 1
    assert not dead(outputs)
