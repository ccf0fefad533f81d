"""What a service calls: it counts what it should, and never raises."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.client import Limits, MetricsPublisher
from pipeline.client.messages import CONTENT_TYPE, Message, raw_messages
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats import columnar
from pipeline.ingest.points import Context
from pipeline.series import Kind, parse_canonical
from pipeline.settings import IngestSettings

TS = 1_767_225_600_000


def publisher(**limits: int) -> MetricsPublisher:
    """A publisher that is never started: nothing of it leaves the process."""
    return MetricsPublisher("127.0.0.1:9", service="shop", labels={"zone": "a"}, limits=Limits(**limits))


def read(messages: list[Message]) -> dict[tuple[str, str], tuple[Kind, list[tuple[int, float]]]]:
    """(name, labels but service and zone) → kind and (ts, value)s, as ingest reads the messages."""
    found: dict[tuple[str, str], tuple[Kind, list[tuple[int, float]]]] = {}
    for message in messages:
        catalog = SeriesCatalog(IngestSettings(), 1)
        points = columnar.decode(message.value, Context(catalog, message.service.encode(), TS))
        for index, ts, value in zip(points.series, points.ts, points.value, strict=True):
            series = parse_canonical(catalog.series[index])
            assert series.labels["service"] == message.service
            rest = {name: text for name, text in series.labels.items() if name not in ("service", "zone")}
            found.setdefault((series.name, json.dumps(rest)), (series.kind, []))[1].append((int(ts), float(value)))
    return found


def snapshot(metrics: MetricsPublisher) -> dict[tuple[str, str], tuple[Kind, float]]:
    """Name and labels of all series → kind and value now."""
    found = read(metrics._snapshots.take(TS))
    return {name: (kind, points[-1][1]) for name, (kind, points) in found.items()}


def test_counter_gauge_histogram_as_ingest_reads_them():
    """Each kind of instrument arrives with its name, labels, kind and value."""
    metrics = publisher()
    metrics.counter("http_requests_total").inc(status=200)
    metrics.counter("http_requests_total").inc(2, status="200")
    gauge = metrics.gauge("queue_depth")
    gauge.set(7)
    gauge.inc(2)
    gauge.dec()
    for seconds in (0.05, 0.1, 0.3, 20):
        metrics.histogram("http_request_duration_seconds").observe(seconds, method="GET")
    found = snapshot(metrics)
    assert found["http_requests_total", '{"status": "200"}'] == (Kind.COUNTER, 3)
    assert found["queue_depth", "{}"] == (Kind.GAUGE, 8)
    name = "http_request_duration_seconds"
    bounds = ["0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
    counts = [found[f"{name}_bucket", json.dumps({"le": bound, "method": "GET"})] for bound in bounds]
    assert counts == [(Kind.BUCKET, count) for count in (2, 2, 3, 3, 3, 3, 3, 4)]
    assert found[f"{name}_count", '{"method": "GET"}'] == (Kind.COUNTER, 4)
    kind, total = found[f"{name}_sum", '{"method": "GET"}']
    assert (kind, total) == (Kind.COUNTER, pytest.approx(20.45))


def test_order_of_labels_makes_no_other_series():
    """The same labels in another order are the same series."""
    metrics = publisher()
    counter = metrics.counter("a_total")
    counter.inc(x=1, y=2)
    counter.inc(y=2, x=1)
    assert snapshot(metrics) == {("a_total", '{"x": "1", "y": "2"}'): (Kind.COUNTER, 2)}


@pytest.mark.parametrize("value", [math.nan, math.inf, "3", None, [1]])
def test_what_is_no_number_is_counted(value):
    """No instrument raises for a value that it cannot take."""
    metrics = publisher()
    metrics.counter("a_total").inc(value)
    metrics.gauge("b").set(value)
    metrics.gauge("b").dec(value)
    metrics.histogram("c").observe(value)
    metrics.record("d", math.nan if value == "3" else value)
    assert metrics.statistics.invalid == 5
    assert snapshot(metrics) == {}


def test_counter_never_falls():
    """A negative increment is left out and counted."""
    metrics = publisher()
    metrics.counter("a_total").inc(3)
    metrics.counter("a_total").inc(-1)
    assert snapshot(metrics) == {("a_total", "{}"): (Kind.COUNTER, 3)}
    assert metrics.statistics.invalid == 1


def test_series_beyond_the_limit_are_refused():
    """A label with a value a request does not take the memory of the service."""
    metrics = publisher(series=3)
    for number in range(10):
        metrics.counter("a_total").inc(user=number)
    assert len(snapshot(metrics)) == 3
    assert metrics.statistics.refused == 7


@pytest.mark.parametrize("labels", [{"path": "x" * 5000}, {f"l{number}": "" for number in range(70)}])
def test_labels_that_ingest_would_refuse_cost_nobody_else(labels):
    """One series with labels beyond ingest's limits would make its whole message a dead letter."""
    metrics = publisher()
    metrics.counter("a_total").inc(**labels)
    metrics.record("b", 1, labels)
    metrics.record("", 1)
    assert snapshot(metrics) == {}
    assert (metrics.statistics.refused, metrics.statistics.waiting) == (3, 0)


def test_raw_samples_keep_time_kind_and_service():
    """Raw samples arrive as they were given; each service has messages of its own."""
    metrics = publisher()
    metrics.record("jobs_total", 3, {"queue": "a"}, kind="counter", ts=TS)
    metrics.record("jobs_total", 5, {"queue": "a"}, kind="counter", ts=TS + 1000)
    metrics.record("temperature", 21.5, {"service": "oven"}, ts=TS)
    messages = list(raw_messages(list(metrics._raw)))
    assert [message.service for message in messages] == ["shop", "oven"]
    assert read(messages) == {
        ("jobs_total", '{"queue": "a"}'): (Kind.COUNTER, [(TS, 3), (TS + 1000, 5)]),
        ("temperature", "{}"): (Kind.GAUGE, [(TS, 21.5)]),
    }


@pytest.mark.parametrize("ts", [-1, 0, 1_767_225_600, 10**18, math.inf, "now"])
def test_a_time_that_is_not_in_ms_is_counted(ts):
    """Seconds or nanoseconds by mistake are refused where they are given, not in ingest."""
    metrics = publisher()
    metrics.record("a", 1, ts=ts)
    assert (metrics.statistics.invalid, metrics.statistics.waiting) == (1, 0)


def test_oldest_raw_samples_go():
    """More raw samples than may wait: the oldest are dropped and counted."""
    metrics = publisher(buffered=10)
    for number in range(25):
        metrics.record("a", number, ts=TS + number)
    (message,) = raw_messages(list(metrics._raw))
    assert [value for _, value in read([message])["a", "{}"][1]] == list(range(15, 25))
    assert metrics.statistics.dropped == 15


def test_threads_lose_no_count():
    """Increments from many threads at once are all there."""
    metrics = publisher()
    counter = metrics.counter("a_total")

    def work() -> None:
        for number in range(5000):
            counter.inc(part=number % 3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(value for _, value in snapshot(metrics).values()) == 20_000


@given(st.lists(st.floats(-100, 100), max_size=50), st.lists(st.floats(-100, 100), max_size=8))
def test_histogram_counts_what_is_at_most_each_bound(values, bounds):
    """Bucket `le` holds exactly the values up to its bound, whatever the values and bounds."""
    metrics = publisher()
    histogram = metrics.histogram("h", bounds)
    for value in values:
        histogram.observe(value)
    counts = {
        float(json.loads(labels)["le"]): count
        for (name, labels), (_, count) in snapshot(metrics).items()
        if name == "h_bucket"
    }
    wanted = {bound: sum(value <= bound for value in values) for bound in [*bounds, math.inf]}
    assert counts == (wanted if values else {})


def test_content_type_is_ingests():
    """The client repeats the content type rather than import ingest: they must agree."""
    assert CONTENT_TYPE in columnar.CONTENT_TYPES


def test_import_is_light():
    """A service that imports the client gets neither numpy nor pydantic nor the rest of the pipeline."""
    code = "import sys, pipeline.client; print(*sys.modules)"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert not loaded & {"numpy", "pyarrow", "numba", "pydantic", "structlog", "pipeline.ingest", "pipeline.settings"}
