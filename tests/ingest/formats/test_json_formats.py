"""JSON of other programs: Telegraf, Vector, prometheus-kafka-adapter."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pipeline.ingest.formats.registry import by_name
from tests.builders import START
from tests.ingest.formats.reading import Row, decode, reason, rows
from tests.ingest.promises import decode as refusal
from tests.ingest.promises import fresh_context

SECONDS = START // 1000
ISO = "2026-01-01T00:00:00Z"

TELEGRAF = {"name": "mem", "tags": {"host": "a"}, "fields": {"free": 5, "used": 2.5}, "timestamp": SECONDS}
MEM: list[Row] = [("mem_free", {"host": "a"}, "gauge", 0, 5.0), ("mem_used", {"host": "a"}, "gauge", 0, 2.5)]
ADAPTER = {"value": "456", "timestamp": ISO, "name": "up", "labels": {"__name__": "up", "job": "api"}}
COUNTER = {
    "name": "hits",
    "namespace": "web",
    "tags": {"a": "b"},
    "kind": "absolute",
    "timestamp": ISO,
    "counter": {"value": 7.0},
}


def vector(kind: str, **value: Any) -> dict[str, Any]:
    return {"name": "m", "kind": kind, "timestamp": ISO, **value}


HISTOGRAM = {"buckets": [{"upper_limit": 0.5, "count": 7}, {"upper_limit": "inf", "count": 2}], "count": 9, "sum": 3.5}
OPEN_HISTOGRAM = {"buckets": [{"upper_limit": 0.5, "count": 7}], "count": 9, "sum": 3.5}
SUMMARY = {"quantiles": [{"quantile": 0.5, "value": 0.2}], "count": 9, "sum": 3.5}
SAMPLES = [{"value": 0.02, "rate": 2}, {"value": 3.0, "rate": 1}]
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")

ACCEPTED: list[tuple[str, str, Any, list[Row]]] = [
    ("telegraf", "one metric", TELEGRAF, MEM),
    ("telegraf", "a batch", {"metrics": [TELEGRAF, TELEGRAF]}, MEM * 2),
    ("telegraf", "an empty batch", {"metrics": []}, []),
    ("telegraf", "nanoseconds", {**TELEGRAF, "timestamp": START * 1_000_000}, MEM),
    ("telegraf", "milliseconds", {**TELEGRAF, "timestamp": START}, MEM),
    ("telegraf", "a time of its own format", {**TELEGRAF, "timestamp": ISO}, MEM),
    ("telegraf", "no tags", {**TELEGRAF, "tags": {}, "fields": {"free": 1}}, [("mem_free", {}, "gauge", 0, 1.0)]),
    ("telegraf", "texts and nulls are no samples", {**TELEGRAF, "fields": {"a": "1", "b": None}}, []),
    ("telegraf", "booleans", {**TELEGRAF, "tags": None, "fields": {"a": True}}, [("mem_a", {}, "gauge", 0, 1.0)]),
    (
        "telegraf",
        "what it scraped",
        {**TELEGRAF, "name": "prometheus", "tags": {}, "fields": {"x_total": 1}},
        [("x_total", {}, "counter", 0, 1.0)],
    ),
    ("kafka_adapter", "a sample", ADAPTER, [("up", {"job": "api"}, "gauge", 0, 456.0)]),
    (
        "kafka_adapter",
        "a counter",
        {**ADAPTER, "name": "x_total", "labels": {}},
        [("x_total", {}, "counter", 0, 456.0)],
    ),
    ("kafka_adapter", "infinity", {**ADAPTER, "value": "+Inf", "labels": {}}, [("up", {}, "gauge", 0, math.inf)]),
    (
        "kafka_adapter",
        "minus infinity",
        {**ADAPTER, "value": "-Inf", "labels": {}},
        [("up", {}, "gauge", 0, -math.inf)],
    ),
    ("kafka_adapter", "an exponent", {**ADAPTER, "value": "1e-05", "labels": {}}, [("up", {}, "gauge", 0, 1e-05)]),
    ("kafka_adapter", "a number as number", {**ADAPTER, "value": 4.5, "labels": {}}, [("up", {}, "gauge", 0, 4.5)]),
    ("vector", "an absolute counter", COUNTER, [("web_hits", {"a": "b"}, "counter", 0, 7.0)]),
    (
        "vector",
        "an incremental counter",
        {**COUNTER, "kind": "incremental"},
        [("web_hits", {"a": "b"}, "delta", 0, 7.0)],
    ),
    ("vector", "native_json", {"metric": COUNTER}, [("web_hits", {"a": "b"}, "counter", 0, 7.0)]),
    ("vector", "an array of events", [{"metric": COUNTER}], [("web_hits", {"a": "b"}, "counter", 0, 7.0)]),
    (
        "vector",
        "no time is the message's",
        {**COUNTER, "timestamp": None},
        [("web_hits", {"a": "b"}, "counter", 0, 7.0)],
    ),
    ("vector", "a gauge", vector("absolute", gauge={"value": -1.5}), [("m", {}, "gauge", 0, -1.5)]),
    ("vector", "infinity", vector("absolute", gauge={"value": "inf"}), [("m", {}, "gauge", 0, math.inf)]),
    ("vector", "a set", vector("incremental", set={"values": ["a", "b", "a"]}), [("m", {}, "gauge", 0, 2.0)]),
    (
        "vector",
        "tags of many values, and of none",
        {**vector("absolute", gauge={"value": 1}), "tags": {"a": ["b", None, "c"], "d": None}},
        [("m", {"a": "c"}, "gauge", 0, 1.0)],
    ),
    (
        "vector",
        "an absolute histogram",
        vector("absolute", aggregated_histogram=HISTOGRAM),
        [
            ("m_count", {}, "counter", 0, 9.0),
            ("m_sum", {}, "counter", 0, 3.5),
            ("m_bucket", {"le": "0.5"}, "bucket", 0, 7.0),
            ("m_bucket", {"le": "+Inf"}, "bucket", 0, 9.0),
        ],
    ),
    (
        "vector",
        "an incremental histogram without its last bucket",
        vector("incremental", aggregated_histogram=OPEN_HISTOGRAM),
        [
            ("m_count", {}, "delta", 0, 9.0),
            ("m_sum", {}, "delta", 0, 3.5),
            ("m_bucket", {"le": "0.5"}, "delta_bucket", 0, 7.0),
            ("m_bucket", {"le": "+Inf"}, "delta_bucket", 0, 9.0),
        ],
    ),
    (
        "vector",
        "a summary",
        vector("absolute", aggregated_summary=SUMMARY),
        [
            ("m_count", {}, "counter", 0, 9.0),
            ("m_sum", {}, "counter", 0, 3.5),
            ("m", {"quantile": "0.5"}, "gauge", 0, 0.2),
        ],
    ),
    (
        "vector",
        "a distribution for a histogram",
        vector("incremental", distribution={"samples": SAMPLES, "statistic": "histogram"}),
        [
            ("m_count", {}, "delta", 0, 3.0),
            ("m_sum", {}, "delta", 0, 3.04),
            *(
                ("m_bucket", {"le": le}, "delta_bucket", 0, at)
                for le, at in zip(BOUNDS, [0.0] * 2 + [2.0] * 7 + [3.0] * 3, strict=True)
            ),
        ],
    ),
    (
        "vector",
        "a distribution for a summary",
        vector("incremental", distribution={"samples": SAMPLES, "statistic": "summary"}),
        [
            ("m_count", {}, "delta", 0, 3.0),
            ("m_sum", {}, "delta", 0, 3.04),
            *(
                ("m", {"quantile": q}, "gauge", 0, value)
                for q, value in (("0.5", 0.02), ("0.75", 3.0), ("0.9", 3.0), ("0.95", 3.0), ("0.99", 3.0))
            ),
        ],
    ),
    (
        "vector",
        "an empty distribution",
        vector("incremental", distribution={"samples": [], "statistic": "summary"}),
        [("m_count", {}, "delta", 0, 0.0), ("m_sum", {}, "delta", 0, 0.0)],
    ),
]

REFUSED: list[tuple[str, str, Any, str]] = [
    ("telegraf", "no fields", {"name": "m", "timestamp": SECONDS}, "fields"),
    ("telegraf", "no name", {**TELEGRAF, "name": ""}, "labels"),
    ("telegraf", "no time", {"name": "m", "fields": {"a": 1}}, "fields"),
    ("telegraf", "a time that is none", {**TELEGRAF, "timestamp": "now"}, "timestamp"),
    ("telegraf", "the far past", {**TELEGRAF, "timestamp": 5}, "past"),
    ("telegraf", "the far future", {**TELEGRAF, "timestamp": SECONDS + 7200}, "future"),
    ("telegraf", "fields that are a list", {**TELEGRAF, "fields": [1]}, "fields"),
    ("telegraf", "a nested field", {**TELEGRAF, "fields": {"a": {"b": 1}}}, "fields"),
    ("telegraf", "a tag that is a number", {**TELEGRAF, "tags": {"a": 1}}, "fields"),
    ("telegraf", "a batch that is none", {"metrics": {}}, "fields"),
    ("telegraf", "a batch of numbers", {"metrics": [1]}, "fields"),
    ("telegraf", "cut off", b'{"fields":{"a":1', "syntax"),
    ("kafka_adapter", "a word as value", {**ADAPTER, "value": "many"}, "fields"),
    ("kafka_adapter", "an empty value", {**ADAPTER, "value": ""}, "fields"),
    ("kafka_adapter", "no value", {**ADAPTER, "value": None}, "fields"),
    ("kafka_adapter", "a time that is none", {**ADAPTER, "timestamp": "now"}, "timestamp"),
    ("kafka_adapter", "no name", {**ADAPTER, "name": ""}, "labels"),
    ("kafka_adapter", "labels that are a list", {**ADAPTER, "labels": []}, "fields"),
    ("vector", "an incremental gauge", vector("incremental", gauge={"value": 1}), "kind"),
    ("vector", "a log", {"log": {"message": "x"}}, "fields"),
    ("vector", "a trace", {"trace": {}}, "fields"),
    ("vector", "no value", vector("absolute"), "fields"),
    ("vector", "a sketch", vector("absolute", sketch={"sketch": {}}), "fields"),
    ("vector", "an unknown kind", vector("relative", gauge={"value": 1}), "fields"),
    ("vector", "a number as text", vector("absolute", gauge={"value": "many"}), "fields"),
    ("vector", "a negative count", vector("absolute", aggregated_histogram={**HISTOGRAM, "count": -1}), "fields"),
    ("vector", "too low a count", vector("absolute", aggregated_histogram={**HISTOGRAM, "count": 8}), "fields"),
    ("vector", "no name", {**COUNTER, "name": "", "namespace": None}, "labels"),
    ("vector", "a time that is none", {**COUNTER, "timestamp": "now"}, "timestamp"),
    ("vector", "the far past", {**COUNTER, "timestamp": "1970-01-02T00:00:00Z"}, "past"),
]


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@pytest.mark.parametrize(
    ("name", "what", "body", "expected"), ACCEPTED, ids=[f"{case[0]}: {case[1]}" for case in ACCEPTED]
)
def test_accepted(name: str, what: str, body: Any, expected: list[Row]) -> None:
    """What a good message says."""
    assert rows(name, encoded(body)) == expected, what


@pytest.mark.parametrize(("name", "what", "body", "why"), REFUSED, ids=[f"{case[0]}: {case[1]}" for case in REFUSED])
def test_refused(name: str, what: str, body: Any, why: str) -> None:
    """A bad message is refused for its own reason."""
    assert reason(name, encoded(body)) == why, what


def test_a_sketch_is_told_what_is_read_instead() -> None:
    """It is a metric, of a kind that is not read."""
    payload = encoded(vector("absolute", sketch={"sketch": {"AgentDDSketch": {}}}))
    assert "sketches are not read" in str(refusal(by_name("vector"), payload, fresh_context()))


def test_nan_is_a_value() -> None:
    """What the adapter writes of a metric that is not a number passes; who learns drops and counts it."""
    [row] = rows("kafka_adapter", encoded({**ADAPTER, "value": "NaN"}))
    assert math.isnan(row[4])


@pytest.mark.parametrize(
    ("name", "batch", "good", "positions"),
    [
        ("telegraf", {"metrics": [TELEGRAF, {"name": "x"}, TELEGRAF]}, MEM * 2, ["metrics[1]"]),
        (
            "vector",
            [COUNTER, vector("absolute"), {"log": {}}],
            [("web_hits", {"a": "b"}, "counter", 0, 7.0)],
            ["[1]", "[2]"],
        ),
    ],
)
def test_good_metrics_pass_beside_bad_ones(name: str, batch: Any, good: list[Row], positions: list[str]) -> None:
    """Only the bad metrics of a batch are refused, each as a message by itself."""
    found, points = decode(name, encoded(batch))
    assert found == good
    assert [one.position for one in points.refused] == positions
    bad = [one for one in (batch["metrics"] if isinstance(batch, dict) else batch) if one not in (TELEGRAF, COUNTER)]
    alone = [{"metrics": [one]} if isinstance(batch, dict) else [one] for one in bad]
    assert [json.loads(one.payload) for one in points.refused] == alone


def test_near_bounds_of_vector_are_series_of_their_own() -> None:
    """Each bound as the shortest text that gives it: none falls together with another."""
    buckets = [{"upper_limit": bound, "count": 1} for bound in (0.123456789, 1048576.0, 1048577.0)]
    message = vector("absolute", aggregated_histogram={"buckets": buckets, "count": 3, "sum": 1.0})
    found = {labels["le"]: value for _, labels, _, _, value in rows("vector", json.dumps(message).encode()) if labels}
    assert found == {"0.123456789": 1.0, "1048576": 2.0, "1048577": 3.0, "+Inf": 3.0}


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (vector("absolute", aggregated_histogram={**HISTOGRAM, "count": 10**400}), "fields"),
        (vector("absolute", distribution={"samples": [{"value": 1.0, "rate": 10**400}]}), "fields"),
        (
            vector("absolute", aggregated_histogram={**HISTOGRAM, "buckets": [{"upper_limit": "NaN", "count": 1}]}),
            "fields",
        ),
        (
            vector("absolute", aggregated_histogram={**HISTOGRAM, "buckets": [{"upper_limit": 1, "count": 1}] * 2}),
            "fields",
        ),
        (vector("absolute", aggregated_summary={**SUMMARY, "quantiles": [{"quantile": 2, "value": 1.0}]}), "fields"),
    ],
    ids=["a count beyond floats", "a rate beyond floats", "a bound that is none", "a bound twice", "a quantile of two"],
)
def test_what_vector_cannot_mean_is_refused(message: dict[str, Any], why: str) -> None:
    """With its reason, and alone: the good metric beside it passes."""
    assert reason("vector", json.dumps(message).encode()) == why
    _, points = decode("vector", json.dumps([message, COUNTER]).encode())
    assert len(points.ts) == 1
    assert len(points.refused) == 1


@pytest.mark.parametrize("is_batch", [False, True])
def test_a_number_beyond_all_floats_costs_its_field_only(is_batch: bool) -> None:
    """The metric's other fields pass; the letter is the metric with that field alone, and is refused again."""
    metric = b'{"name":"mem","tags":{"host":"a"},"fields":{"free":1,"huge":1e999,"used":2},"timestamp":%d}' % START
    payload = b'{"metrics":[%s,%s]}' % (metric.replace(b"1e999", b"3"), metric) if is_batch else metric
    found, points = decode("telegraf", payload)
    assert [row[0] for row in found[-2:]] == ["mem_free", "mem_used"]
    assert len(found) == 2 + 3 * is_batch
    [piece] = points.refused
    assert (piece.position, piece.error.reason) == ("metrics[1].fields.huge" if is_batch else "fields.huge", "fields")
    assert b"1e999" in piece.payload
    assert b"free" not in piece.payload
    assert reason("telegraf", piece.payload) == "fields"
