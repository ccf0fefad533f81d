"""Times as producers write them, to milliseconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

# Below the first bound a number is seconds, then ms, µs, ns. The bounds leave room from 1973 (in ms) to the year 5138.
_SECONDS_BELOW = 1e11
_MILLIS_BELOW = 1e14
_MICROS_BELOW = 1e17


def to_millis(ts: float | str) -> int:
    """One timestamp as ms: a number's unit is told by its magnitude, text is ISO 8601 (UTC where it names no zone).

    Raises DecodeError (reason `timestamp`).
    """
    if isinstance(ts, str):
        return _iso_to_millis(ts)
    if ts < 0 or ts != ts:  # noqa: PLR0124  NaN is the number that differs from itself
        raise DecodeError(f"timestamp {ts!r} is not a time after 1970", reason="timestamp")
    if ts < _SECONDS_BELOW:
        return int(ts * 1000)
    if ts < _MILLIS_BELOW:
        return int(ts)
    if ts < _MICROS_BELOW:
        return int(ts // 1000)
    if ts < 1e20:
        return int(ts // 1_000_000)
    raise DecodeError(f"timestamp {ts!r} is beyond nanoseconds of any year to come", reason="timestamp")


def column_to_millis(ts: Sequence[float | str]) -> npt.NDArray[np.int64]:
    """A column of timestamps as int64[n] ms; raises DecodeError as `to_millis` does."""
    if not ts:
        return np.empty(0, dtype=np.int64)
    try:
        column = np.asarray(ts)
    except (ValueError, OverflowError) as error:
        raise DecodeError(f"timestamps cannot be read: {error}", reason="timestamp") from error
    if column.dtype.kind not in "if":
        return np.fromiter((to_millis(one) for one in ts), dtype=np.int64, count=len(ts))
    low, high = float(column.min()), float(column.max())
    if low >= _SECONDS_BELOW and high < _MILLIS_BELOW:
        return column.astype(np.int64)
    return np.fromiter((to_millis(one) for one in column.tolist()), dtype=np.int64, count=len(ts))


def _iso_to_millis(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DecodeError(
            f"timestamp {text[:40]!r} is neither a number nor ISO 8601 (like 2026-01-31T12:00:00Z)", reason="timestamp"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    millis = round(moment.timestamp() * 1000)
    if millis < 0:
        raise DecodeError(f"timestamp {text[:40]!r} is before 1970", reason="timestamp")
    return millis
