"""OTLP: what each kind of metric becomes, and its labels."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.ingest.stage import IngestStage
from pipeline.series import STALE
from pipeline.settings import IngestSettings
from tests.builders import START, message
from tests.ingest.otlp_requests import MINUTE, NS, both, gauge, labels, point, request, rows, total
from tests.ingest.test_ingest_stage import all_rows


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        (gauge(point(asDouble=1.5)), "gauge"),
        (total(point(asDouble=1.5)), "counter"),
        (total(point(asDouble=1.5), temporality=1), "delta"),
        (total(point(asDouble=1.5), monotonic=False), "gauge"),
        (total(point(asDouble=1.5), temporality=1, monotonic=False), "delta"),
    ],
)
def test_numbers_have_the_kind_that_the_metric_says(metric: dict[str, Any], kind: str) -> None:
    """Gauges and sums become one series each."""
    assert rows(request(metric)) == {"m": (kind, 1.5)}


def test_integers_are_texts_in_json() -> None:
    """64-bit integers come as texts, and keep their value."""
    assert rows(request(gauge(point(asInt="-9007199254740991")))) == {"m": ("gauge", -9007199254740991.0)}


def test_temporality_may_be_named() -> None:
    """The enum's name is as good as its number."""
    body = request(total(point(asInt="3"), temporality="AGGREGATION_TEMPORALITY_DELTA"))
    assert rows(body) == {"m": ("delta", 3.0)}


def test_histograms_become_cumulative_buckets() -> None:
    """Counts between bounds are added up; the last bound is +Inf."""
    data = point(count="6", sum=7.5, bucketCounts=["1", "2", "3"], explicitBounds=[0.1, 5], min=0.0, max=6.0)
    body = request({"name": "m", "histogram": {"dataPoints": [data], "aggregationTemporality": 2}})
    assert rows(body) == {
        "m_count": ("counter", 6.0),
        "m_sum": ("counter", 7.5),
        "m_bucket 0.1": ("bucket", 1.0),
        "m_bucket 5": ("bucket", 3.0),
        "m_bucket +Inf": ("bucket", 6.0),
    }


@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0)])
def test_a_bound_of_either_zero_is_one_series(zeros: tuple[float, float]) -> None:
    """Whatever sign it has, and whichever came first: labels must not depend on what was read before."""
    for zero in zeros:
        data = point(count="9", bucketCounts=["7", "2"], explicitBounds=[zero])
        body = request({"name": "m", "histogram": {"dataPoints": [data], "aggregationTemporality": 2}})
        assert rows(body)["m_bucket 0"] == ("bucket", 7.0)


def test_delta_histograms_are_deltas() -> None:
    """What a delta histogram counts was added since its previous sample."""
    data = point(count="3", bucketCounts=["1", "2"], explicitBounds=[1])
    body = request({"name": "m", "histogram": {"dataPoints": [data], "aggregationTemporality": 1}})
    assert rows(body) == {
        "m_count": ("delta", 3.0),
        "m_bucket 1": ("delta_bucket", 1.0),
        "m_bucket +Inf": ("delta_bucket", 3.0),
    }


def test_exponential_histograms_become_buckets_of_scale_two() -> None:
    """Finer buckets are merged, and every one that holds anything gives both of its bounds."""
    data = point(
        count="7", sum=1.0, scale=3, zeroCount="1", positive={"offset": 0, "bucketCounts": ["2", "1", "0", "3"]}
    )
    body = request({"name": "m", "exponentialHistogram": {"dataPoints": [data], "aggregationTemporality": 2}})
    found = rows(body)
    assert found["m_bucket 0"] == ("bucket", 1.0)
    assert found["m_bucket 1"] == ("bucket", 1.0)
    assert found[f"m_bucket {2**0.25!r}"] == ("bucket", 4.0)
    assert found[f"m_bucket {2**0.5!r}"] == ("bucket", 7.0)
    assert found["m_bucket +Inf"] == ("bucket", 7.0)


@pytest.mark.parametrize("offset", [-(2**31), 2**31 - 2])
@pytest.mark.parametrize("scale", [-10, 0, 3, 20])
@pytest.mark.parametrize("temporality", [1, 2])
def test_offsets_beyond_all_floats_cost_nothing(offset: int, scale: int, temporality: int) -> None:
    """Bounds are no more than floats can tell apart, whatever index a bucket says that it has."""
    data = point(
        count="5",
        scale=scale,
        positive={"offset": offset, "bucketCounts": ["1", "2"]},
        negative={"offset": offset, "bucketCounts": ["1", "1"]},
    )
    body = request({"name": "m", "exponentialHistogram": {"dataPoints": [data], "aggregationTemporality": temporality}})
    found = rows(body)
    kind = "delta_bucket" if temporality == 1 else "bucket"
    assert found["m_bucket +Inf"] == (kind, 5.0)
    assert len(found) < 150
    below = [value for name, (_, value) in found.items() if name.startswith("m_bucket")]
    assert below == sorted(below)
    if temporality == 1 and scale == 0 and offset < 0:
        assert found["m_bucket 0"] == found[f"m_bucket {2**20}"] == (kind, 5.0)


def test_summaries_become_quantiles() -> None:
    """Quantiles are gauges, count and sum counters."""
    data = point(count="2", sum=3.0, quantileValues=[{"quantile": 0.5, "value": 1.0}, {"quantile": 1, "value": 2.0}])
    assert rows(request({"name": "m", "summary": {"dataPoints": [data]}})) == {
        "m_count": ("counter", 2.0),
        "m_sum": ("counter", 3.0),
        "m 0.5": ("gauge", 1.0),
        "m 1": ("gauge", 2.0),
    }


def test_no_recorded_value_ends_the_series() -> None:
    """`flags & 1` becomes the staleness marker, whatever value is there."""
    for fields in ({"asDouble": 5.0}, {}):
        [value] = both(request(total(point(flags=1, startTimeUnixNano=str((START - MINUTE) * NS), **fields)))).value
        assert struct.pack("<d", value) == struct.pack("<d", STALE)


@pytest.mark.parametrize(
    ("before", "times"),
    [(MINUTE, [START - MINUTE, START]), (300_000, [START - 300_000, START]), (300_001, [START]), (0, [START])],
)
def test_a_new_start_time_is_a_zero(before: int, times: list[int]) -> None:
    """A count that began just before its sample was 0 then: so detect sees the reset."""
    points = both(request(total(point(asInt="7", startTimeUnixNano=str((START - before) * NS)))))
    assert list(points.ts) == times
    assert list(points.value) == [0.0, 7.0][-len(times) :]


@pytest.mark.parametrize(("gap_s", "told"), [(3600.0, True), (600.0, True), (599.0, False)])
def test_a_start_is_told_as_far_back_as_rates_go(gap_s: float, told: bool) -> None:
    """`detect.gap_s` says how far: beyond it no rate is taken, whatever the count was; decoded and scanned alike."""
    body = request(total(point(asInt="7", startTimeUnixNano=str((START - 600_000) * NS))))
    payload = json_format.ParseDict(body, ExportMetricsServiceRequest()).SerializeToString()
    ingest = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1, gap_s=gap_s)
    for offset in range(2):
        found = [(ts - START, value) for _, _, ts, value in all_rows(ingest.step([message(offset, payload)]))]
        assert found == [(-600_000, 0.0), (0, 7.0)][0 if told else 1 :]


def test_gauges_and_deltas_have_no_zero() -> None:
    """Only a cumulative count starts at 0."""
    start = str((START - MINUTE) * NS)
    for metric in (
        gauge(point(asInt="7", startTimeUnixNano=start)),
        total(point(asInt="7", startTimeUnixNano=start), temporality=1),
    ):
        assert list(both(request(metric)).value) == [7.0]


def test_resource_and_scope_become_labels() -> None:
    """A point's own attributes count most, then the resource's without `telemetry.*`, then the scope's."""
    own = {"key": "route", "value": {"stringValue": "/cart"}}
    body = request(
        gauge(point(asInt="1", attributes=[own])),
        resource={"service.name": "shop", "route": "?", "telemetry.sdk.language": "python"},
        scope={"name": "lib", "version": "1.2", "attributes": [{"key": "a", "value": {"boolValue": True}}]},
    )
    assert labels(body) == {
        "service": "shop",
        "service.name": "shop",
        "route": "/cart",
        "otel.scope.name": "lib",
        "otel.scope.a": "true",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"intValue": "5"}, "5"),
        ({"doubleValue": 0.5}, "0.5"),
        ({"boolValue": False}, "false"),
        ({"bytesValue": "AAE="}, "AAE="),
        ({"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "x"}]}}, '[1,"x"]'),
        ({"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}}, '{"k":true}'),
    ],
)
def test_attributes_of_any_type_are_texts(value: dict[str, Any], text: str) -> None:
    """Every type of attribute has one text, the same from both encodings."""
    body = request(gauge(point(asInt="1", attributes=[{"key": "x", "value": value}])))
    assert labels(body)["x"] == text


def test_an_attribute_without_a_value_is_no_label() -> None:
    """It says nothing, nor does the resource's that it stands before."""
    body = request(gauge(point(asInt="1", attributes=[{"key": "x", "value": {}}])), resource={"job": "a", "x": "y"})
    assert labels(body) == {"service": "a", "job": "a"}
