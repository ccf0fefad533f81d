"""Native histograms of Prometheus remote write as cumulative `le` buckets.

Source: prometheus.io/docs/specs/native_histograms, "Data model"; `Histogram.Validate` of Prometheus for the counts.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal

from pipeline.errors import DecodeError
from pipeline.ingest.formats.buckets import Cumulative, Exponential, explicit, exponential

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.ingest.protobuf.remote_write_pb2 import BucketSpan, Histogram

_CUSTOM_BOUNDS: Final = -53
_SCHEMAS: Final = range(-4, 9)


def total(histogram: Histogram) -> float:
    """All observations."""
    return float(_either(histogram, "count"))


def cumulative(histogram: Histogram) -> Cumulative:
    """Its buckets. Raises DecodeError (reason `fields`)."""
    positive = _counts(histogram.positive_spans, histogram.positive_deltas, histogram.positive_counts)
    if histogram.schema == _CUSTOM_BOUNDS:
        return _custom(histogram, positive)
    if histogram.schema not in _SCHEMAS:
        raise DecodeError(f"schema {histogram.schema} of a native histogram is neither -4…8 nor -53", reason="fields")
    negative = _counts(histogram.negative_spans, histogram.negative_deltas, histogram.negative_counts)
    _check_total(histogram, _either(histogram, "zero_count") + sum(positive.values()) + sum(negative.values()))
    # OTLP's index i is (base^i, base^(i+1)]; here it is (base^(i-1), base^i].
    return exponential(
        Exponential(
            scale=histogram.schema,
            zero_threshold=histogram.zero_threshold,
            zero=float(_either(histogram, "zero_count")),
            positive={index - 1: count for index, count in positive.items()},
            negative={index - 1: count for index, count in negative.items()},
            total=total(histogram),
        ),
        delta=False,
    )


def _custom(histogram: Histogram, counts: Mapping[int, float]) -> Cumulative:
    bounds = list(histogram.custom_values)
    _check_total(histogram, sum(counts.values()))
    if any(not 0 <= index <= len(bounds) for index in counts):
        raise DecodeError(f"a bucket beyond the {len(bounds)} custom bounds", reason="fields")
    return explicit(bounds, [counts.get(index, 0.0) for index in range(len(bounds) + 1)], total(histogram))


def _check_total(histogram: Histogram, in_buckets: float) -> None:
    """Raises DecodeError (reason `fields`) where buckets hold other than the count, by Prometheus' own rule.

    An observation of NaN makes the sum one, and is in no bucket. Counts that are floats need not add up.
    """
    if histogram.WhichOneof("count") != "count_int" or in_buckets == histogram.count_int:
        return
    if in_buckets > histogram.count_int or not math.isnan(histogram.sum):
        raise DecodeError(
            f"the buckets of a native histogram hold {in_buckets:.0f} observations, its count says "
            f"{histogram.count_int}",
            reason="fields",
        )


def _either(histogram: Histogram, group: Literal["count", "zero_count"]) -> float:
    which = histogram.WhichOneof(group)
    return 0.0 if which is None else float(getattr(histogram, which))


def _counts(spans: Sequence[BucketSpan], deltas: Sequence[int], counts: Sequence[float]) -> dict[int, float]:
    """Counts by index. Raises DecodeError (reason `fields`) where spans and counts differ in length."""
    values = list(counts) or [float(count) for count in accumulate(deltas)]
    lengths = sum(span.length for span in spans)
    if lengths != len(values):
        raise DecodeError(f"spans of {lengths} buckets with {len(values)} counts", reason="fields")
    indexes: list[int] = []
    at = 0
    for span in spans:
        at += span.offset
        indexes += range(at, at + span.length)
        at += span.length
    return dict(zip(indexes, values, strict=True))
