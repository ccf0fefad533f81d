from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batch import ARROW_CONTENT_TYPE, SOURCE_HEADER, decode_batch, encode_batch, make_batch
from pipeline.ingest.formats.registry import FORMATS
from pipeline.ingest.packing import MESSAGE_BYTES
from pipeline.ingest.stage import IngestStage
from pipeline.partitioning import partition_of
from pipeline.series import parse_canonical
from pipeline.settings import IngestSettings
from pipeline.stage import Output, Topic
from tests.builders import START, cut, message, series

PARTITIONS = 4


def stage(**settings: object) -> IngestStage:
    return IngestStage(IngestSettings(**settings), source="duri.metrics/0", samples_partitions=PARTITIONS)


def rows_of(outputs: list[Output]) -> dict[int, list[tuple[str, tuple[tuple[str, str], ...], int, float]]]:
    """Rows of each output partition in order: name, labels, ts, value."""
    rows: dict[int, list[tuple[str, tuple[tuple[str, str], ...], int, float]]] = {}
    for output in outputs:
        if output.topic is not Topic.SAMPLES:
            continue
        batch = decode_batch(output.value)
        known = {}
        for at in range(len(batch)):
            canonical = batch.labels[at].as_py()
            if canonical is not None:
                known[batch.series[at]] = parse_canonical(canonical)
            one = known[batch.series[at]]
            assert one.identity() == batch.series[at]
            assert output.partition is not None
            rows.setdefault(output.partition, []).append(
                (one.name, tuple(sorted(one.labels.items())), int(batch.ts[at]), float(batch.value[at]))
            )
    return rows


def all_rows(outputs: list[Output]) -> list[tuple[str, tuple[tuple[str, str], ...], int, float]]:
    return [row for rows in rows_of(outputs).values() for row in rows]


def dead(outputs: list[Output]) -> list[Output]:
    return [output for output in outputs if output.topic is Topic.DEADLETTER]


def reason(output: Output) -> str:
    return dict(output.headers)["duri.error.reason"].decode()


SAMPLE = {"name": "up", "labels": {"service": "a"}, "ts": START, "value": 1.0}

ACCEPTED = [
    ("a single sample", SAMPLE, 1),
    ("an array", [SAMPLE, {**SAMPLE, "value": 2}], 2),
    ("an empty array", [], 0),
    ("white space before an array", b' \n[{"name":"up","ts":1767225600000,"value":1}]', 1),
    ("seconds", {**SAMPLE, "ts": START // 1000}, 1),
    ("fractional seconds", {**SAMPLE, "ts": START / 1000}, 1),
    ("microseconds", {**SAMPLE, "ts": START * 1000}, 1),
    ("nanoseconds", {**SAMPLE, "ts": START * 1_000_000}, 1),
    ("ISO 8601 with a zone", {**SAMPLE, "ts": "2026-01-01T01:00:00+01:00"}, 1),
    ("ISO 8601 without one is UTC", {**SAMPLE, "ts": "2026-01-01T00:00:00"}, 1),
    ("an integer value", {**SAMPLE, "value": 7}, 1),
    ("a huge value", {**SAMPLE, "value": 1.7e308}, 1),
    ("labels of other JSON types", {**SAMPLE, "labels": {"service": "a", "code": 200, "ok": True}}, 1),
    ("unknown fields", {**SAMPLE, "host_os": "linux"}, 1),
    ("columnar", {"series": [{"name": "up", "labels": {"service": "a"}}], "ts": [START], "value": [1]}, 1),
    ("columnar with an index", {"series": [{"name": "up"}], "index": [0, 0], "ts": [START, START], "value": [1, 2]}, 2),
    ("columnar with one time", {"series": [{"name": "up"}, {"name": "down"}], "ts": START, "value": [1, 2]}, 2),
    ("columnar without rows", {"series": [], "ts": [], "value": []}, 0),
]

REFUSED = [
    ("an empty message", b"", "empty"),
    ("no JSON", b"{not json", "syntax"),
    ("binary rubbish", bytes(range(128, 160)), "format"),
    ("invalid UTF-8 in a name", b'{"name":"\xff","ts":1767225600000,"value":1}', "syntax"),
    ("bottomless nesting", b'{"name":"a","ts":1,"value":1,"labels":' + b"[" * 50_000, "syntax"),
    ("a number", b"17", "format"),
    ("no name", {"ts": START, "value": 1}, "fields"),
    ("an empty name", {**SAMPLE, "name": ""}, "labels"),
    ("a value that is text", {**SAMPLE, "value": "1"}, "fields"),
    ("a value that is null", {**SAMPLE, "value": None}, "fields"),
    ("labels that are a list", {**SAMPLE, "labels": ["service"]}, "labels"),
    ("nested labels", {**SAMPLE, "labels": {"service": {"a": 1}}}, "labels"),
    ("an unknown kind", {**SAMPLE, "kind": "summary"}, "labels"),
    ("a time that is no time", {**SAMPLE, "ts": "yesterday"}, "timestamp"),
    ("a negative time", {**SAMPLE, "ts": -5}, "timestamp"),
    ("a time beyond all units", {**SAMPLE, "ts": 10**21}, "timestamp"),
    ("a time far in the future", {**SAMPLE, "ts": START + 2 * 3_600_000}, "future"),
    ("an array that breaks off", json.dumps([SAMPLE, SAMPLE]).encode()[:-1], "syntax"),
    ("columns of different lengths", {"series": [{"name": "up"}], "ts": [START], "value": [1, 2]}, "fields"),
    ("an index outside", {"series": [{"name": "up"}], "index": [1], "ts": [START], "value": [1]}, "fields"),
    ("a negative index", {"series": [{"name": "up"}], "index": [-1], "ts": [START], "value": [1]}, "fields"),
    ("a series without a name", {"series": [{"labels": {}}], "ts": [START], "value": [1]}, "fields"),
    ("a broken Arrow stream", b"\xff\xff\xff\xff\x10\x00\x00\x00rubbish", "syntax"),
]


@pytest.mark.parametrize(("what", "body", "count"), ACCEPTED, ids=[case[0] for case in ACCEPTED])
def test_accepted(what: str, body: object, count: int) -> None:
    """Well-formed messages become samples at their time, and no dead letters."""
    outputs = stage().step([message(0, body)])
    assert not dead(outputs), what
    rows = all_rows(outputs)
    assert len(rows) == count
    assert all(ts == START for _, _, ts, _ in rows)


@pytest.mark.parametrize(("what", "body", "why"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(what: str, body: object, why: str) -> None:
    """Malformed messages become one dead letter each, byte for byte, and the messages around them pass."""
    bad = message(1, body, key=b"k", origin="test")
    outputs = stage().step([message(0, SAMPLE), bad, message(2, SAMPLE)])
    letters = dead(outputs)
    assert [reason(letter) for letter in letters] == [why], what
    assert letters[0].value == bad.value
    assert letters[0].key == b"k"
    headers = dict(letters[0].headers)
    assert headers["origin"] == b"test"
    assert (headers["duri.error.topic"], headers["duri.error.partition"], headers["duri.error.offset"]) == (
        b"duri.metrics",
        b"0",
        b"1",
    )
    assert headers["duri.error.stage"] == b"ingest"
    assert headers["duri.error.class"] == b"DecodeError"
    assert headers["duri.error.message"]
    assert len(all_rows(outputs)) == 2


def test_too_many_labels_are_refused() -> None:
    """More labels than the setting allows is a dead letter that names the setting."""
    many = {**SAMPLE, "labels": {f"l{i}": "x" for i in range(5)}}
    [letter] = dead(stage(max_labels=4).step([message(0, many)]))
    assert b"ingest.max_labels" in dict(letter.headers)["duri.error.message"]


def test_too_long_labels_are_refused() -> None:
    """Names and labels longer than the setting allows are a dead letter that names the setting."""
    long = {**SAMPLE, "labels": {"path": "x" * 100}}
    [letter] = dead(stage(max_label_bytes=64).step([message(0, long)]))
    assert b"ingest.max_label_bytes" in dict(letter.headers)["duri.error.message"]


@pytest.mark.parametrize(
    ("labels", "key", "service"),
    [
        ({"service": "a", "job": "b"}, b"k", "a"),
        ({"service.name": "a", "job": "b"}, b"k", "a"),
        ({"job": "b"}, b"k", "b"),
        ({"host": "h"}, b"k", "k"),
        ({"host": "h"}, None, "h"),
        ({}, None, "unknown"),
    ],
)
def test_service_is_named_by_the_first_label_that_is_there(
    labels: dict[str, str], key: bytes | None, service: str
) -> None:
    """The service comes from the configured labels in order, among them the message's key."""
    outputs = stage().step([message(0, {**SAMPLE, "labels": labels}, key=key)])
    [(_, found, _, _)] = all_rows(outputs)
    assert dict(found)["service"] == service


def test_all_series_of_a_service_share_a_partition() -> None:
    """Whatever key the producer used, a service's samples go where Kafka's partitioner sends the service's name."""
    bodies = [{**SAMPLE, "name": f"m{i}", "labels": {"service": f"s{i % 7}"}} for i in range(50)]
    outputs = stage().step([message(i, body, key=str(i).encode()) for i, body in enumerate(bodies)])
    for partition, rows in rows_of(outputs).items():
        for _, labels, _, _ in rows:
            assert partition_of(dict(labels)["service"].encode(), PARTITIONS) == partition


def test_content_type_decides_before_sniffing() -> None:
    """A named format is read as that format, and an unknown one is refused with the known ones listed."""
    columnar = {"series": [{"name": "up"}], "ts": [START], "value": [1]}
    named = message(0, columnar, content_type="application/vnd.duri.columnar+json; charset=utf-8")
    wrong = message(1, columnar, content_type="application/vnd.duri.sample+json")
    unknown = message(2, columnar, content_type="text/csv")
    outputs = stage().step([named, wrong, unknown])
    assert len(all_rows(outputs)) == 1
    assert [reason(letter) for letter in dead(outputs)] == ["fields", "format"]
    told = dict(dead(outputs)[1].headers)["duri.error.message"].decode()
    assert all(f" {known.name}," in told for known in FORMATS)


def test_topic_setting_decides_before_sniffing() -> None:
    """A topic whose format is set does not sniff."""
    columnar_only = IngestStage(
        IngestSettings(), source="duri.metrics/0", samples_partitions=1, topic_format="columnar"
    )
    assert [reason(letter) for letter in dead(columnar_only.step([message(0, SAMPLE)]))] == ["fields"]


def test_arrow_round_trip() -> None:
    """What ingest writes, ingest reads: Arrow batches pass with NaN and all."""
    one, two = series("queue_depth"), series("http_requests_total", status="200")
    batch = make_batch(
        np.array([one.identity(), two.identity(), one.identity()], dtype=np.uint64),
        np.array([START, START, START + 1]),
        np.array([1.0, math.nan, 3.0]),
        [one.canonical(), two.canonical(), None],
    )
    outputs = stage().step([message(0, encode_batch(batch), content_type=ARROW_CONTENT_TYPE)])
    assert not dead(outputs)
    assert sorted(str(value) for _, _, _, value in all_rows(outputs)) == ["1.0", "3.0", "nan"]


def test_arrow_with_foreign_identities_is_refused() -> None:
    """An identity that is not the hash of its labels would merge series: it is refused."""
    one = series("queue_depth")
    batch = make_batch(np.array([1], dtype=np.uint64), np.array([START]), np.array([1.0]), [one.canonical()])
    assert [reason(letter) for letter in dead(stage().step([message(0, encode_batch(batch))]))] == ["labels"]


def test_large_polls_are_split_below_the_message_limit() -> None:
    """Messages to `duri.samples` stay below the broker's limit and each carries the labels that it needs."""
    body = {
        "series": [{"name": "m", "labels": {"service": "a", "i": f"{i:0100d}"}} for i in range(20_000)],
        "ts": START,
        "value": [float(i) for i in range(20_000)],
    }
    outputs = stage().step([message(0, body), message(1, body)])
    assert max(len(output.value) for output in outputs) < MESSAGE_BYTES * 1.1
    assert [value for _, _, _, value in all_rows(outputs)] == [float(i) for i in range(20_000)] * 2


def test_samples_carry_their_source() -> None:
    """Detect must know which input partition a batch came from, to know how far event time is."""
    [output] = stage().step([message(0, SAMPLE)])
    assert dict(output.headers)[SOURCE_HEADER] == b"duri.metrics/0"


def test_idle_input_is_announced_once_to_every_partition() -> None:
    """An input read to its end says so, again only after new records or ten minutes."""
    ingest = stage()
    assert [output.partition for output in ingest.tick(5000)] == [0, 1, 2, 3]
    assert not ingest.tick(10_000)
    ingest.step([message(0, SAMPLE)])
    assert len(ingest.tick(5000)) == PARTITIONS
    assert len(ingest.tick(605_000)) == PARTITIONS


bodies = st.one_of(
    st.builds(
        lambda name, service, at, value: {
            "name": name,
            "labels": {"service": service},
            "ts": START + at,
            "value": value,
        },
        st.sampled_from(["up", "http_requests_total", "x"]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 10**6),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.sampled_from([b"", b"{", b"[]", b"null", b'{"series":[]}']),
    st.binary(max_size=40),
)


@given(st.lists(bodies, max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_batch_boundaries_change_nothing(messages: list[object], places: list[int]) -> None:
    """However polls are cut, each partition gets the same samples in the same order, and the same dead letters."""
    log = [message(offset, body) for offset, body in enumerate(messages)]
    whole = stage().step(log)
    pieces = stage()
    parts = [output for part in cut(log, places) for output in pieces.step(part)]
    assert rows_of(parts) == rows_of(whole)
    assert [(d.value, d.headers) for d in dead(parts)] == [(d.value, d.headers) for d in dead(whole)]


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise(payload: bytes) -> None:
    """Whatever arrives is a sample or a dead letter."""
    outputs = stage().step([message(0, payload)])
    assert len(dead(outputs)) <= 1
