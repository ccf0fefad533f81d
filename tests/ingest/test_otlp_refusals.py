"""OTLP that is wrong: what is refused, alone where it can be, and why."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from pipeline.errors import DecodeError
from pipeline.ingest.formats import otlp_json, otlp_protobuf
from tests.builders import START
from tests.ingest.otlp_requests import MINUTE, NS, both, context, gauge, point, request, total
from tests.ingest.promises import check_changed

TWICE = [{"key": "x", "value": {"stringValue": value}} for value in "ab"]


MAPPED = [{"key": "map", "value": {"kvlistValue": {"values": TWICE}}}]


LISTED = [{"key": "list", "value": {"arrayValue": {"values": [{"kvlistValue": {"values": MAPPED}}]}}}]


BAD_POINTS = [
    ("no time", {"asInt": "1"}, "timestamp"),
    ("far future", point(asInt="1") | {"timeUnixNano": str((START + 2 * 3_600_000) * NS)}, "future"),
    ("far past", point(asInt="1") | {"timeUnixNano": str((START - 16_000 * 86_400_000) * NS)}, "past"),
    ("no value", point(), "fields"),
    ("an attribute twice", point(asInt="1", attributes=TWICE), "labels"),
    ("a map's key twice", point(asInt="1", attributes=MAPPED), "labels"),
    ("a key twice deep inside", point(asInt="1", attributes=LISTED), "labels"),
    ("too long labels", point(asInt="1", attributes=[{"key": "x", "value": {"stringValue": "y" * 5000}}]), "labels"),
]


@pytest.mark.parametrize(("what", "bad", "reason"), BAD_POINTS, ids=[case[0] for case in BAD_POINTS])
def test_a_bad_point_is_refused_alone(what: str, bad: dict[str, Any], reason: str) -> None:
    """The others pass; the piece says where it was, and by itself is refused again for the same reason."""
    body = request(gauge(point(asInt="1")), gauge(point(asInt="2"), bad, name="n"))
    assert list(both(body).value) == [1.0, 2.0], what
    for decoder, payload in (
        (otlp_json, json.dumps(body).encode()),
        (otlp_protobuf, json_format.ParseDict(body, ExportMetricsServiceRequest()).SerializeToString()),
    ):
        [piece] = decoder.decode(payload, context()).refused
        assert piece.position == "resourceMetrics[0].scopeMetrics[0].metrics[1].dataPoints[1]"
        assert piece.error.reason == reason
        assert decoder.sniff(piece.payload)
        again = decoder.decode(piece.payload, context())
        assert [one.error.reason for one in again.refused] == [reason]
        assert not len(again.ts)


WRONG_POINTS = [
    ("a value that is no number", {"asInt": "abc"}, "fields"),
    ("a time that is no number", {"asInt": "1", "timeUnixNano": "now"}, "fields"),
    ("attributes that are a number", {"asInt": "1", "attributes": 5}, "fields"),
    ("an attribute that is a list", {"asInt": "1", "attributes": [[]]}, "fields"),
    ("a number beyond all floats", {"asInt": "1" * 400}, "fields"),
]


@pytest.mark.parametrize(("what", "fields", "reason"), WRONG_POINTS, ids=[case[0] for case in WRONG_POINTS])
def test_a_json_point_of_wrong_types_is_refused_alone(what: str, fields: dict[str, Any], reason: str) -> None:
    """The others pass; the piece is the very point as it was sent, in a request of its own."""
    bad = {**point(), **fields}
    body = request(gauge(point(asInt="1"), bad, point(asInt="3")), total(bad))
    points = otlp_json.decode(json.dumps(body).encode(), context())
    assert list(points.value) == [1.0, 3.0], what
    assert [one.position for one in points.refused] == [
        "resourceMetrics[0].scopeMetrics[0].metrics[0].dataPoints[1]",
        "resourceMetrics[0].scopeMetrics[0].metrics[1].dataPoints[0]",
    ]
    for piece in points.refused:
        assert piece.error.reason == reason
        [scope] = json.loads(piece.payload)["resourceMetrics"][0]["scopeMetrics"]
        [data] = [value for key, value in scope["metrics"][0].items() if key in ("gauge", "sum")]
        assert data["dataPoints"] == [bad]
        assert [one.error.reason for one in otlp_json.decode(piece.payload, context()).refused] == [reason]


@pytest.mark.parametrize("point_of", [5, "x", None, [], True])
def test_a_json_point_that_is_no_object_is_refused_alone(point_of: Any) -> None:
    """Whatever stands in the list has a position."""
    body = request(gauge(point(asInt="1"), point_of))
    points = otlp_json.decode(json.dumps(body).encode(), context())
    assert list(points.value) == [1.0]
    assert [(one.position[-13:], one.error.reason) for one in points.refused] == [("dataPoints[1]", "fields")]


def two_resources(bad: str) -> Any:
    """Two resources of two scopes of two metrics: the first `resource`, or its second `scope`, has a key twice."""
    body = request(gauge(point(asInt="1")), gauge(point(asInt="2"), name="n"))
    other = request(gauge(point(asInt="3")), gauge(point(asInt="4"), name="n"), resource={"service.name": "other"})
    [first], [second] = body["resourceMetrics"], other["resourceMetrics"]
    for resource in (first, second):
        [scope] = resource["scopeMetrics"]
        resource["scopeMetrics"] = [scope, {**scope, "scope": {"name": "lib"}}]
    if bad == "resource":
        first["resource"]["attributes"] += TWICE
    elif bad == "scope":
        first["scopeMetrics"][1]["scope"] = {"name": "lib", "attributes": TWICE}
    return json.loads(json.dumps({"resourceMetrics": [first, second]}))


@pytest.mark.parametrize(
    ("bad", "position", "values"),
    [
        ("resource", "resourceMetrics[0]", [3.0, 4.0, 3.0, 4.0]),
        ("scope", "resourceMetrics[0].scopeMetrics[1]", [1.0, 2.0, 3.0, 4.0, 3.0, 4.0]),
    ],
)
def test_a_bad_resource_or_scope_is_refused_alone(bad: str, position: str, values: list[float]) -> None:
    """Which of two values counts for its points nobody can say; the points of others pass, known series or not."""
    body = two_resources(bad)
    known = context()
    both(request(gauge(point(asInt="1"))), known)
    for decoder, payload in (
        (otlp_json, json.dumps(body).encode()),
        (otlp_protobuf, json_format.ParseDict(body, ExportMetricsServiceRequest()).SerializeToString()),
    ):
        points = decoder.decode(payload, known)
        assert list(points.value) == values
        [piece] = points.refused
        assert piece.position == position
        assert (piece.error.reason, "'x' comes twice" in str(piece.error)) == ("labels", True)
        again = decoder.decode(piece.payload, context())
        assert [one.error.reason for one in again.refused] == ["labels"]
        assert not len(again.value)


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ((), 5),
        ((), {"resource": 5}),
        ((), {"scopeMetrics": {}}),
        (("scopeMetrics", 0), []),
        (("scopeMetrics", 0), {"scope": {"name": 5}}),
        (("scopeMetrics", 0, "metrics", 1), {"name": 5}),
        (("scopeMetrics", 0, "metrics", 1), {"gauge": {"dataPoints": "x"}}),
    ],
)
def test_what_is_of_a_wrong_json_type_is_refused_alone(path: tuple[Any, ...], wrong: Any) -> None:
    """Whether a resource, a scope or a metric: the others pass, and the position says which it was."""
    body = two_resources("nothing")
    held: Any = body["resourceMetrics"]
    place: Any = 1
    names = ["resourceMetrics[1]"]
    for step in path:
        held, place = held[place], step
        names.append(str(step))
    held[place] = wrong
    points = otlp_json.decode(json.dumps(body).encode(), context())
    [piece] = points.refused
    assert piece.position == ".".join(names).replace(".0", "[0]").replace(".1", "[1]")
    assert piece.error.reason == "fields"
    assert {1.0, 2.0} <= set(points.value)
    assert [one.error.reason for one in otlp_json.decode(piece.payload, context()).refused] == ["fields"]


@pytest.mark.parametrize(
    "data",
    [
        {"count": "1", "bucketCounts": ["1"], "explicitBounds": [1.0]},
        {"count": "2", "bucketCounts": ["1", "1", "0"], "explicitBounds": [2.0, 1.0]},
        {"count": "3", "bucketCounts": ["1", "1", "0"], "explicitBounds": [1.0, 2.0]},
        {"count": "1", "bucketCounts": ["1", "1", "0"], "explicitBounds": [1.0, 2.0]},
    ],
)
def test_histograms_that_contradict_themselves_are_refused(data: dict[str, Any]) -> None:
    """Bounds and buckets that do not fit are no histogram, nor are buckets that hold other than the count."""
    good = {"count": "2", "bucketCounts": ["1", "1", "0"], "explicitBounds": [1.0, 2.0]}
    known = context()
    for of_point, refused in ((good, 0), (data, 1)):
        both_points = [point(**good), point(**of_point)]
        body = request({"name": "m", "histogram": {"dataPoints": both_points, "aggregationTemporality": 2}})
        points = both(body, known)
        assert [one.error.reason for one in points.refused] == ["fields"] * refused
        assert len(points.value) == 4 * (2 - refused)


@pytest.mark.parametrize("count", ["6", "8"])
def test_an_exponential_histogram_that_counts_otherwise_than_its_buckets_is_refused(count: str) -> None:
    """Zeros, positive and negative ones are the count."""
    held = {"zeroCount": "1", "positive": {"bucketCounts": ["2"]}, "negative": {"bucketCounts": ["1", "3"]}}
    for number, refused in ((count, 1), ("7", 0)):
        one = point(count=number, **held)
        body = request({"name": "m", "exponentialHistogram": {"dataPoints": [one], "aggregationTemporality": 2}})
        assert len(both(body).refused) == refused


def test_a_histogram_without_a_value_need_not_add_up() -> None:
    """What is not recorded is not counted."""
    one = point(flags=1, bucketCounts=["1", "2"], explicitBounds=[1.0])
    points = both(request({"name": "m", "histogram": {"dataPoints": [one], "aggregationTemporality": 2}}))
    assert not points.refused
    assert all(map(math.isnan, points.value))


def test_a_sum_without_temporality_is_refused() -> None:
    """Nobody can tell what such a number means."""
    assert [one.error.reason for one in both(request(total(point(asInt="1"), temporality=0))).refused] == ["fields"]


def test_deep_nesting_is_refused() -> None:
    """An attribute deeper than ingest.max_nesting refuses its point, not the process."""
    value = AnyValue(string_value="x")
    for _ in range(30):
        outer = AnyValue()
        outer.array_value.values.append(value)
        value = outer
    message = json_format.ParseDict(request(gauge(point(asInt="1"))), ExportMetricsServiceRequest())
    place = message.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0]
    place.attributes.append(KeyValue(key="x", value=value))
    assert [one.error.reason for one in otlp_protobuf.decode(message.SerializeToString(), context()).refused] == [
        "nesting"
    ]


@pytest.mark.parametrize("bad", [b"\xff", b"\x0a\x05abc", b"\x0a\x02\x08\x80"])
def test_a_resource_that_is_no_protobuf_is_refused_alone(bad: bytes) -> None:
    """Invalid UTF-8, or a message that is cut: the resources beside it pass, new or known."""
    good = json_format.ParseDict(two_resources("nothing"), ExportMetricsServiceRequest()).SerializeToString()
    known = context()
    for _ in range(2):
        points = otlp_protobuf.decode(good + b"\x0a" + bytes([len(bad)]) + bad + good, known)
        assert list(points.value) == [1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 4.0] * 2
        [piece] = points.refused
        assert (piece.position, piece.error.reason) == ("resourceMetrics[2]", "syntax")
        assert [one.error.reason for one in otlp_protobuf.decode(piece.payload, known).refused] == ["syntax"]
        otlp_protobuf.decode(good, known)


@pytest.mark.parametrize("payload", [b"\x0a", b"\x0a\x05abc", b"\xff" * 20, b"\x0b" * 5000])
def test_broken_protobuf_is_refused_as_a_whole(payload: bytes) -> None:
    """What is no protobuf has no points to save."""
    with pytest.raises(DecodeError) as caught:
        otlp_protobuf.decode(payload, context())
    assert caught.value.reason == "syntax"


@given(st.data())
def test_mutated_requests_raise_only_decode_errors(data: st.DataObject) -> None:
    """Bytes changed or cut give samples, refused pieces, or a DecodeError, in both encodings."""
    body = request(
        gauge(point(asInt="1", attributes=[{"key": "x", "value": {"stringValue": "y"}}])),
        total(point(asDouble=math.pi, startTimeUnixNano=str((START - MINUTE) * NS))),
        {
            "name": "h",
            "histogram": {
                "dataPoints": [point(count="3", bucketCounts=["1", "2"], explicitBounds=[1])],
                "aggregationTemporality": 2,
            },
        },
        {
            "name": "e",
            "exponentialHistogram": {
                "dataPoints": [point(count="3", scale=4, positive={"offset": -5, "bucketCounts": ["1", "2"]})],
                "aggregationTemporality": 1,
            },
        },
    )
    message = json_format.ParseDict(body, ExportMetricsServiceRequest()).SerializeToString()
    for decoder, valid in ((otlp_protobuf, message), (otlp_json, json.dumps(body).encode())):
        check_changed(data, decoder, valid)
