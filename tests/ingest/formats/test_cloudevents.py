from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pipeline.errors import DecodeError
from pipeline.ingest.formats.registry import decode_message, open_message
from tests.builders import START
from tests.ingest.formats.reading import Row, context, decode, reason, rows

LINES = "cpu idle=1\nbad"
SAMPLE = {"name": "up", "labels": {}, "ts": START, "value": 1}
UP: list[Row] = [("up", {}, "gauge", 0, 1.0)]


def event(**more: Any) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "17", "source": "/a", "type": "metrics", **more}).encode()


ACCEPTED = [
    ("JSON inside", event(datacontenttype="application/json", data=SAMPLE), UP),
    ("JSON without a content type", event(data=[SAMPLE]), UP),
    ("a type of ours", event(datacontenttype="application/vnd.duri.sample+json", data=SAMPLE), UP),
    ("text inside", event(datacontenttype="text/plain", data=f"up 1 {START}\n"), UP),
    ("bytes inside", event(data_base64=base64.b64encode(json.dumps(SAMPLE).encode()).decode()), UP),
    ("another key before", b'{"data":%s,"specversion":"1.0"}' % json.dumps(SAMPLE).encode(), UP),
    ("the event's time", event(time="2026-01-01T00:00:07Z", data="up 1"), [("up", {}, "gauge", 7000, 1.0)]),
    ("a sample's own time", event(time="2026-01-01T00:00:07Z", data=f"up 1 {START}"), UP),
]
REFUSED = [
    ("no data", event(), "empty"),
    ("null data", event(data=None), "empty"),
    ("an empty text", event(data=""), "format"),
    ("no base64", event(data_base64="%%%"), "syntax"),
    ("an unknown type", event(datacontenttype="image/png", data="x"), "format"),
    ("a number inside", event(data=5), "format"),
    ("an event in an event", event(data=json.loads(event(data=SAMPLE))), "nesting"),
    ("a bad message inside", event(data={"name": "up"}), "fields"),
    ("a time that is none", event(time="now", data=SAMPLE), "timestamp"),
    ("the far future", event(time="2027-01-01T00:00:00Z", data="up 1"), "future"),
    ("cut off", event(data=SAMPLE)[:-5], "syntax"),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(payload: bytes, expected: list[Row]) -> None:
    """What a good event says."""
    assert rows("cloudevents", payload) == expected


@pytest.mark.parametrize(("payload", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(payload: bytes, why: str) -> None:
    """A bad event is refused for its own reason."""
    assert reason("cloudevents", payload) == why


def test_bad_lines_inside_are_refused_alone() -> None:
    """A refused line leaves its envelope: as a message of its own format."""
    found, points = decode("cloudevents", event(datacontenttype="text/vnd.influx.line-protocol", data=LINES))
    assert found == [("cpu_idle", {}, "gauge", 0, 1.0)]
    [piece] = points.refused
    assert (piece.payload, piece.position) == (b"bad", "line 2")
    assert piece.content_type == "application/vnd.influx.line-protocol"


def test_the_binary_mode_has_the_time_in_a_header() -> None:
    """Without an envelope the message is itself, and its headers say when it was."""
    given = context()
    headers = [("ce_specversion", b"1.0"), ("ce_time", b"2026-01-01T00:00:07Z"), ("content-type", b"text/plain")]
    opened = open_message(b"up 1", headers, "auto", given.catalog.limits)
    assert list(decode_message(opened, given).ts) == [START + 7000]
    with pytest.raises(DecodeError, match="ISO 8601"):
        decode_message(opened._replace(time="now"), given)
