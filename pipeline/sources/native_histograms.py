"""Native histograms as Prometheus' query API tells them, as the series that ingest makes of them elsewhere.

Source: prometheus.io/docs/prometheus/latest/querying/api, "Native histograms": count and sum, and of each bucket that
is not empty the rule of its bounds (open or closed, which counts do not depend on), both bounds, and its count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.ingest.formats.buckets import ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Labels = tuple[tuple[str, str], ...]


def as_buckets(
    metric: Mapping[str, str], histograms: Sequence[tuple[float, Mapping[str, Any]]]
) -> Mapping[Labels, list[tuple[float, str]]]:
    """The values (s, text) of `name_count`, `name_sum` and each `name_bucket`, by sorted labels with `__name__`."""
    found: dict[Labels, list[tuple[float, str]]] = {}
    for time_s, histogram in histograms:
        for suffix, labels, value in _series(histogram):
            named = {**metric, **labels, "__name__": metric.get("__name__", "") + suffix}
            found.setdefault(tuple(sorted(named.items())), []).append((time_s, value))
    return found


def _series(histogram: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], str]]:
    yield "_count", {}, histogram["count"]
    yield "_sum", {}, histogram["sum"]
    told = [(float(low), float(high), float(count)) for _, low, high, count in histogram.get("buckets", ())]
    buckets = ranges(told, float(histogram["count"]))
    for le, below in zip(buckets.le, buckets.below, strict=True):
        yield "_bucket", {"le": le}, repr(below)
