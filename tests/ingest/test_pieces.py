"""Messages of independent points: what becomes of good ones and bad ones in the stage."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from pipeline.stage import LogRecord
from tests.builders import START, message
from tests.ingest.otlp_requests import NS, gauge, point, request
from tests.ingest.test_ingest_stage import all_rows, dead, reason

DAY_MS = 86_400_000


def stage(**settings: object) -> IngestStage:
    chosen = IngestSettings(**{"max_past_s": 400 * 86_400.0, **settings})
    return IngestStage(chosen, source="duri.metrics/0", samples_partitions=1)


def at(ts: int, name: str = "m") -> dict[str, Any]:
    return gauge({"timeUnixNano": str(ts * NS), "asInt": "1"}, name=name)


MIXED = request(gauge(point(asInt="1")), at(START - 500 * DAY_MS, "old"), at(START + DAY_MS, "early"))


def test_good_points_pass_and_bad_ones_are_letters_with_their_position() -> None:
    """Each piece says its reason and where it was, and is a message of the format by itself."""
    ingest = stage()
    outputs = ingest.step([message(0, MIXED, key=b"k", origin="test")])
    assert [name for name, _, _, _ in all_rows(outputs)] == ["m"]
    letters = dead(outputs)
    assert [reason(letter) for letter in letters] == ["past", "future"]
    headers = dict(letters[1].headers)
    assert headers["duri.error.position"] == b"resourceMetrics[0].scopeMetrics[0].metrics[2].dataPoints[0]"
    assert headers["duri.error.offset"] == b"0"
    assert (headers["origin"], letters[1].key) == (b"test", b"k")
    assert headers["content-type"] == b"application/vnd.duri.otlp+json"
    counts = ingest.statistics()
    assert (counts['deadletters_total{reason="past"}'], counts['deadletters_total{reason="future"}']) == (1, 1)


def test_good_samples_of_an_array_pass_and_bad_ones_are_letters_with_their_position() -> None:
    """Samples of a JSON array stand alone: each bad one is a letter with its number, and an array by itself."""
    sample = {"name": "up", "labels": {"service": "a"}, "ts": START, "value": 1.0}
    body = [sample, {**sample, "ts": "never"}, {**sample, "value": 2}, {**sample, "ts": START + DAY_MS}, 17]
    outputs = stage().step([message(0, body, key=b"k")])
    assert [(name, value) for name, _, _, value in all_rows(outputs)] == [("up", 1.0), ("up", 2.0)]
    letters = dead(outputs)
    assert [reason(letter) for letter in letters] == ["timestamp", "future", "fields"]
    assert [dict(letter.headers)["duri.error.position"] for letter in letters] == [b"[1]", b"[3]", b"[4]"]
    assert json.loads(letters[0].value) == [{**sample, "ts": "never"}]
    assert dict(letters[0].headers)["content-type"] == b"application/vnd.duri.sample+json"


def test_a_piece_is_replayed_by_itself() -> None:
    """Once the window is wider the piece passes, whatever the original was compressed with; the good ones stay out."""
    body = gzip.compress(json.dumps(MIXED).encode())
    letters = dead(stage().step([message(0, body, content_encoding="gzip")]))
    again = [
        LogRecord("duri.metrics", 0, 1 + place, letter.timestamp, letter.key, letter.value, letter.headers)
        for place, letter in enumerate(letters)
    ]
    outputs = stage(max_past_s=600 * 86_400.0, max_future_s=2 * 86_400.0).step(again)
    assert not dead(outputs)
    assert [name for name, _, _, _ in all_rows(outputs)] == ["old", "early"]


def test_a_message_of_bad_points_only_is_one_letter() -> None:
    """Where nothing passes the message stays whole, byte for byte."""
    body = request(at(START - 500 * DAY_MS), at(START - 500 * DAY_MS, "n"))
    [letter] = dead(stage().step([message(0, body)]))
    assert reason(letter) == "past"
    assert json.loads(letter.value) == body
    assert b"2 pieces" in dict(letter.headers)["duri.error.message"]
    assert "duri.error.position" not in dict(letter.headers)


def test_too_many_bad_points_make_one_letter() -> None:
    """More bad pieces than `ingest.max_refused_pieces` are not worth a letter each: the message is refused whole."""
    bad = [at(START - 500 * DAY_MS, f"m{number}") for number in range(4)]
    outputs = stage(max_refused_pieces=3).step([message(0, request(gauge(point(asInt="1")), *bad))])
    assert len(dead(outputs)) == 1
    assert not all_rows(outputs)


@pytest.mark.parametrize("name", ["otlp", "columnar", "array"])
def test_too_many_series_are_refused(name: str) -> None:
    """`ingest.max_series_per_message` counts series, not samples, known or new."""
    series = [{"name": f"m{number}", "labels": {"service": "a"}} for number in range(5)]
    bodies: dict[str, Any] = {
        "otlp": request(*(gauge(point(asInt="1"), name=f"m{number}") for number in range(5))),
        "columnar": {"series": series, "ts": START, "value": [1.0] * 5},
        "array": [{**one, "ts": START, "value": 1.0} for one in series],
    }
    ingest = stage(max_series_per_message=4)
    for offset in range(2):
        letters = dead(ingest.step([message(offset, bodies[name])]))
        assert [reason(letter) for letter in letters] == ["series"]
        assert b"ingest.max_series_per_message" in dict(letters[0].headers)["duri.error.message"]
    assert not dead(stage(max_series_per_message=5).step([message(0, bodies[name])]))


@pytest.mark.parametrize(("days", "why"), [(401, "past"), (399, None)])
def test_old_times_are_refused_beyond_the_window(days: int, why: str | None) -> None:
    """`ingest.max_past_s` holds for formats that are taken as a whole, the first time and when the series is known."""
    sample = {"name": "up", "labels": {"service": "a"}, "value": 1.0}
    ingest = stage()
    ingest.step([message(0, {**sample, "ts": START})])
    letters = dead(ingest.step([message(1, {**sample, "ts": START - days * DAY_MS})]))
    assert [reason(letter) for letter in letters] == ([why] if why else [])
