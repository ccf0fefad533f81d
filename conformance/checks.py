"""Comparing what arrived in `duri.samples` with the truth."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from conformance import truth
from conformance.truth import Sample
from pipeline.batch import decode_batch
from pipeline.series import parse_canonical

if TYPE_CHECKING:
    from collections.abc import Sequence


def samples_of(message: bytes) -> list[Sample]:
    """The samples of a message of `duri.samples`."""
    batch = decode_batch(message)
    known = {}
    found = []
    for row, (identity, ts, value) in enumerate(zip(batch.series, batch.ts, batch.value, strict=True)):
        canonical = batch.labels[row].as_py()
        if canonical is not None:
            known[identity] = parse_canonical(canonical)
        series = known[identity]
        found.append(Sample(series.name, frozenset(series.labels.items()), int(ts), float(value), series.kind.value))
    return found


def check_otlp(samples: Sequence[Sample], requests: Sequence[dict[str, Any]], service: str) -> None:
    """Everything that was sent is there, and nothing else but zeros at the start of counts."""
    exponential = [one for one in samples if one.name == "rpc.client.duration_bucket"]
    others = [one for one in samples if one.name != "rpc.client.duration_bucket"]
    sent = comparable([sample for request in requests for sample in truth.otlp(request, service)])
    found = comparable(others)
    assert sent.keys() <= found.keys()
    assert all(found[one] == 1 for one in sent)
    # A count says with each point when it began: that it was 0 then may be told each time.
    of_points = points(requests)
    starts = {int(point["startTimeUnixNano"]) // 1_000_000 for _, point in of_points if "startTimeUnixNano" in point}
    for _, _, ts, value, kind in found.keys() - sent.keys():
        assert (value, kind in ("counter", "bucket"), ts in starts) == ("0.0", True, True)
    by_ts = {int(one["timeUnixNano"]) // 1_000_000: one for name, one in of_points if name == "rpc.client.duration"}
    for one in exponential:
        bound = float(dict(one.labels)["le"])
        assert (one.kind, one.value) == ("delta_bucket", truth.exponential_below(by_ts[one.ts], bound))
    bounds = {round(float(dict(one.labels)["le"]), 9) for one in exponential}
    assert bounds >= {-1.0, 2.0, 4.0, math.inf}
    assert {one.ts for one in exponential} == by_ts.keys()


def comparable(samples: Sequence[Sample]) -> Counter[tuple[object, ...]]:
    """How often each sample is there, as things that can be compared although a value is NaN."""
    return Counter((one.name, one.labels, one.ts, str(one.value), one.kind) for one in samples)


def points(requests: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(metric, point) of all requests."""
    return [
        (metric["name"], point)
        for request in requests
        for resource in request["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        for data in metric.keys() - {"name", "unit"}
        for point in metric[data]["dataPoints"]
    ]
