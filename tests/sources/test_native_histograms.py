"""Native histograms of a real Prometheus server are the series that ingest makes of the same ones by remote write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import requests
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats import remote_write
from pipeline.ingest.formats.buckets import Exponential, exponential, ranges
from pipeline.ingest.points import Context
from pipeline.ingest.protobuf import remote_write_pb2 as wire
from pipeline.ingest.scan.exponential import Buckets, Zero
from pipeline.series import parse_canonical
from pipeline.settings import IngestSettings
from pipeline.sources.prometheus import PrometheusReader, Server
from tests.ingest.test_remote_write import one, packed
from tests.prometheus_server import prometheus, require_prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.sources.recording import Recording

Row = tuple[str, str | None, str, float]
"""Name, `le`, kind, value."""

FINE = wire.Histogram(
    count_int=12,
    sum=30.5,
    schema=5,
    zero_threshold=2**-20,
    zero_count_int=1,
    positive_spans=[wire.BucketSpan(offset=-7, length=6), wire.BucketSpan(offset=40, length=1)],
    positive_deltas=[1, 0, 1, -1, 1, -1, 0],
    negative_spans=[wire.BucketSpan(offset=3, length=2)],
    negative_deltas=[1, 0],
)
COARSE = wire.Histogram(
    count_int=4,
    sum=9.0,
    schema=-1,
    zero_threshold=2**-128,
    positive_spans=[wire.BucketSpan(offset=0, length=3)],
    positive_deltas=[2, -1, 0],
)


def write(url: str, now: int) -> bytes:
    """Put both histograms into the server; the message."""
    series = []
    for name, histogram in (("fine_seconds", FINE), ("coarse_seconds", COARSE)):
        timed = wire.Histogram()
        timed.CopyFrom(histogram)
        timed.timestamp = now
        series.append(one({"__name__": name, "job": "shop"}, histograms=[timed]))
    request = packed(wire.WriteRequest(timeseries=series))
    answer = requests.post(
        f"{url}/api/v1/write",
        data=request,
        timeout=10,
        headers={"content-encoding": "snappy", "content-type": "application/x-protobuf"},
    )
    assert answer.ok, answer.text
    return request


def bridged(recording: Recording) -> set[Row]:
    return {
        (series.name, series.labels.get("le"), series.kind, value)
        for series, value in zip([recording.series[at] for at in recording.index], recording.value, strict=True)
    }


def ingested(request: bytes, now: int) -> set[Row]:
    known = Context(SeriesCatalog(IngestSettings(), 4), b"shop", now)
    points = remote_write.decode(request, known)
    found = set()
    for index, value in zip(points.series, points.value, strict=True):
        series = parse_canonical(known.catalog.series[index])
        found.add((series.name, series.labels.get("le"), series.kind, value))
    return found


def test_read_from_a_server_they_are_what_remote_write_gives(tmp_path: Path) -> None:
    """Written to a real server and read back: each count, sum and bucket, and no other."""
    require_prometheus()
    with prometheus(tmp_path, features=("remote-write-receiver", "native-histograms")) as server:
        reader = PrometheusReader(Server(server.url), ['{job="shop"}'], lambda labels: labels["job"])
        now = reader.now_ms()
        request = write(server.url, now)
        recording = reader.read(now - 60_000, now)
    assert bridged(recording) == ingested(request, now)
    assert len(recording) == len(bridged(recording)) == 17
    assert set(recording.ts.tolist()) == {now}
    assert recording.missing == 0


COUNTS = st.dictionaries(st.integers(-40, 40), st.integers(1, 100), max_size=8)


def _buckets(counts: dict[int, float]) -> Buckets:
    return Buckets(
        np.array(sorted(counts), dtype=np.int64), np.array([counts[index] for index in sorted(counts)], float)
    )


@given(scale=st.integers(-4, 8), positive=COUNTS, negative=COUNTS, zero=st.integers(0, 5))
def test_bounds_say_what_indexes_say(
    scale: int, positive: dict[int, float], negative: dict[int, float], zero: int
) -> None:
    """Told by bounds or by indexes, a histogram has the same buckets."""
    threshold = 2.0**-1000  # below the lowest bucket

    def bound(index: int) -> float:
        return float(2.0 ** (index * 2.0**-scale))

    told = [(-bound(index + 1), -bound(index), negative[index]) for index in sorted(negative, reverse=True)]
    told += [(-threshold, threshold, float(zero))] if zero else []
    told += [(bound(index), bound(index + 1), positive[index]) for index in sorted(positive)]
    total = float(zero + sum(positive.values()) + sum(negative.values()))
    histogram = Exponential(scale, Zero(threshold, float(zero)), _buckets(positive), _buckets(negative), total)
    assert ranges(told, total) == exponential(histogram, delta=False)


def test_custom_bounds_stay_as_they_are() -> None:
    """Prometheus 3 keeps classic histograms natively; their bounds are no powers, and the first begins nowhere."""
    told: list[tuple[float, float, float]] = [(float("-inf"), 0.1, 2.0), (0.1, 0.5, 1.0), (5.0, float("inf"), 3.0)]
    assert ranges(told, 6.0) == (("0.1", "0.5", "5", "+Inf"), (2.0, 3.0, 3.0, 6.0))


def test_nothing_observed_is_a_count_of_nothing() -> None:
    """A histogram without buckets has the one that all have."""
    empty: list[Any] = []
    assert ranges(empty, 0.0) == (("+Inf",), (0.0,))
