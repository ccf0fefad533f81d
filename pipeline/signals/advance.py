"""One kernel that every sample passes: order, counter resets, gaps, and what the frame collects of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from pipeline.series import STALE_BITS

if TYPE_CHECKING:
    import numpy.typing as npt

GAUGE, COUNTER, BUCKET, DELTA = range(4)

SERIES_ROW = np.dtype(
    [
        ("last_ts", "i8"),  # ms, of the newest sample; 0 before the first
        ("last_value", "f8"),  # NaN after a staleness marker
        ("increase", "f8"),  # of a counter or by deltas in this frame
        ("total", "f8"),  # sum of a gauge's values in this frame
        ("peak", "f8"),  # largest value in this frame
        ("elapsed", "i4"),  # ms that `increase` covers
        ("count", "i4"),  # samples in this frame
        ("kind", "i1"),
        ("seen", "?"),  # whether there was any sample in this frame
    ]
)
"""State of one series; all zero is as new."""

LATE, NOT_FINITE, STALE, OUT_OF_FRAME, UNMODELLED, ACCEPTED = range(6)
TALLIES = ("late", "not_finite", "stale", "out_of_frame", "unmodelled", "accepted")
"""What the kernel counts; names for metrics, in the order of the counts array."""


@numba.njit(cache=True, nogil=True)
def advance(
    rows: npt.NDArray[np.void],
    slots: npt.NDArray[np.int32],
    ts: npt.NDArray[np.int64],
    value: npt.NDArray[np.float64],
    frame_start: int,
    gap_ms: int,
    counts: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Take n samples in order into their series' rows; float64[n]: what learners watch of each (NaN: nothing).

    A gauge is watched as it is, a counter as its rate per second. A sample at or before the newest one of its series
    is late or a duplicate, NaN and infinities are no values: both are counted and dropped. A counter that falls was
    reset and has grown by its new value (as Prometheus' `increase` has it); no rate is taken across `gap_ms`.
    A delta is what was added since the previous sample, over `gap_ms` at most: what was added after a long silence is
    certain, only when is not. The first of a series adds to no known time, and is not counted.
    `frame_start` is the start of the open frame, ms: what is older still moves its series on, but not its frame.
    """
    watched = np.full(len(slots), np.nan)
    bits = value.view(np.int64)
    for i in range(len(slots)):
        slot = slots[i]
        if slot < 0:
            counts[UNMODELLED] += 1
            continue
        row = rows[slot]
        if ts[i] <= row["last_ts"]:
            counts[LATE] += 1
            continue
        v = value[i]
        if not np.isfinite(v):
            if bits[i] == STALE_BITS:
                counts[STALE] += 1
                row["last_ts"] = ts[i]
                row["last_value"] = np.nan
            else:
                counts[NOT_FINITE] += 1
            continue
        counts[ACCEPTED] += 1
        before, before_ts = row["last_value"], row["last_ts"]
        row["last_ts"] = ts[i]
        row["last_value"] = v
        row["seen"] = True
        in_frame = ts[i] >= frame_start
        if not in_frame:
            counts[OUT_OF_FRAME] += 1
        if row["kind"] == GAUGE:
            watched[i] = v
            if in_frame:
                row["peak"] = v if row["count"] == 0 else max(row["peak"], v)
                row["total"] += v
                row["count"] += 1
            continue
        dt = _interval(row["kind"], before_ts, ts[i], gap_ms)
        grown = _grown(row["kind"], before, v)
        if dt == 0 or np.isnan(grown):
            continue
        watched[i] = grown / dt * 1000.0
        # A late increase is still an increase: it counts in the open frame, with the time that it covers.
        row["increase"] += grown
        row["elapsed"] += dt
        row["count"] += 1
    return watched


@numba.njit(cache=True, nogil=True)
def _interval(kind: int, before_ts: int, ts: int, gap_ms: int) -> int:
    """Time between two samples that a growth is spread over, ms; 0 where there is none to speak of."""
    dt = ts - before_ts
    if before_ts == 0:
        return 0
    if dt <= gap_ms:
        return dt
    return gap_ms if kind == DELTA else 0


@numba.njit(cache=True, nogil=True)
def _grown(kind: int, before: float, value: float) -> float:
    """What was added between two samples; NaN where the first is unknown."""
    return value if kind == DELTA or value < before else value - before


@numba.njit(cache=True, nogil=True)
def begin_frame(rows: npt.NDArray[np.void], slots: int) -> None:
    """Forget what the closed frame has collected."""
    for slot in range(slots):
        row = rows[slot]
        row["increase"] = 0.0
        row["total"] = 0.0
        row["peak"] = 0.0
        row["elapsed"] = 0
        row["count"] = 0
        row["seen"] = False
