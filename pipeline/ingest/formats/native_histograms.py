"""Native histograms of Prometheus remote write as cumulative `le` buckets.

Source: prometheus.io/docs/specs/native_histograms, "Data model"; `Histogram.Validate` of Prometheus for the counts.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.formats.buckets import Cumulative, Exponential, explicit, exponential
from pipeline.ingest.scan.exponential import NOTHING, Buckets, Zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.ingest.protobuf.remote_write_pb2 import BucketSpan, Histogram

_CUSTOM_BOUNDS: Final = -53
_SCHEMAS: Final = range(-4, 9)


def total(histogram: Histogram) -> float:
    """All observations."""
    return float(_either(histogram, "count"))


def cumulative(histogram: Histogram) -> Cumulative:
    """Its buckets. Raises DecodeError (reason `fields`)."""
    is_custom = histogram.schema == _CUSTOM_BOUNDS
    if not is_custom and histogram.schema not in _SCHEMAS:
        raise DecodeError(f"schema {histogram.schema} of a native histogram is neither -4…8 nor -53", reason="fields")
    # OTLP's index i is (base^i, base^(i+1)]; here it is (base^(i-1), base^i].
    first = 0 if is_custom else -1
    zero = Zero(histogram.zero_threshold, 0.0 if is_custom else float(_either(histogram, "zero_count")))
    positive, above = _buckets(histogram.positive_spans, histogram.positive_deltas, histogram.positive_counts, first)
    negative, under = NOTHING, 0.0
    if histogram.negative_spans and not is_custom:
        negative, under = _buckets(
            histogram.negative_spans, histogram.negative_deltas, histogram.negative_counts, first
        )
    _check_total(histogram, zero.held + above + under)
    if is_custom:
        return _custom(histogram, positive)
    return exponential(Exponential(histogram.schema, zero, positive, negative, total(histogram)), delta=False)


def _custom(histogram: Histogram, buckets: Buckets) -> Cumulative:
    bounds = list(histogram.custom_values)
    if len(buckets.indexes) and not 0 <= buckets.indexes[0] <= buckets.indexes[-1] <= len(bounds):
        raise DecodeError(f"a bucket beyond the {len(bounds)} custom bounds", reason="fields")
    counts = np.zeros(len(bounds) + 1)
    counts[buckets.indexes] = buckets.counts
    return explicit(bounds, counts.tolist(), total(histogram))


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


def _buckets(
    spans: Sequence[BucketSpan], deltas: Sequence[int], counts: Sequence[float], first: int
) -> tuple[Buckets, float]:
    """Buckets by index, from `first` on, and how much they hold.

    Raises DecodeError (reason `fields`) where spans and counts differ in length.
    """
    values: list[float] = list(counts) or list(accumulate(deltas))
    lengths = sum([span.length for span in spans])
    if lengths != len(values):
        raise DecodeError(f"spans of {lengths} buckets with {len(values)} counts", reason="fields")
    indexes: list[int] = []
    at = first
    for span in spans:
        at += span.offset
        indexes += range(at, at + span.length)
        at += span.length
    if any(span.offset < 0 for span in spans[1:]):  # of those that come twice the last counts
        last = dict(zip(indexes, values, strict=True))
        indexes = sorted(last)
        values = [last[index] for index in indexes]
    held = Buckets(np.array(indexes, dtype=np.int64), np.array(values, dtype=np.float64))
    return held, float(sum(values))
