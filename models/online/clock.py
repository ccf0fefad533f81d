"""Local time of day without Python objects: a time zone as two arrays that a kernel can walk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from models.online.compiling import compiled

if TYPE_CHECKING:
    import numpy.typing as npt

_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2070
_PROBE: Final = timedelta(days=5)

DAY_MS: Final = 86_400_000
"""Milliseconds of a day on the clock on the wall."""
WEEK_MS: Final = 7 * DAY_MS
"""Milliseconds of a week."""
_SINCE_MONDAY_MS: Final = 3 * DAY_MS  # the epoch was a Thursday


class Offsets(NamedTuple):
    """A zone's offsets from UTC: `shift[i]` holds from `since[i]` until `since[i + 1]`.

    since  int64[k]  ms since the epoch, ascending; the first lies before every possible time
    shift  int64[k]  ms to add to UTC for local time
    """

    since: npt.NDArray[np.int64]
    shift: npt.NDArray[np.int64]


@lru_cache(maxsize=64)
def zone_offsets(timezone: str) -> Offsets:
    """Offsets of an IANA zone from 1970 to 2070; the last one holds for ever after.

    Raises ValueError for a zone that this machine does not know.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {timezone!r}: {error}") from error
    at, end = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC), datetime(_LAST_YEAR, 1, 1, tzinfo=UTC)
    since, shift = [np.iinfo(np.int64).min], [_shift(zone, at)]
    while at < end:
        later = at + _PROBE
        if _shift(zone, later) != shift[-1]:
            since.append(_change(zone, at, later))
            shift.append(_shift(zone, later))
        at = later
    return Offsets(np.array(since, np.int64), np.array(shift, np.int64))


def _shift(zone: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(zone).utcoffset()
    return round(offset.total_seconds() * 1000) if offset is not None else 0


def _change(zone: ZoneInfo, early: datetime, late: datetime) -> int:
    """First second, as ms since the epoch, at which the offset is no longer that of `early`."""
    low, high = int(early.timestamp()), int(late.timestamp())
    before = _shift(zone, early)
    while high - low > 1:
        middle = (low + high) // 2
        if _shift(zone, datetime.fromtimestamp(middle, UTC)) == before:
            low = middle
        else:
            high = middle
    return high * 1000


@compiled
def offset_index(offsets: Offsets, ts: int, index: int) -> int:
    """Row of `offsets` that holds at `ts` ms; `index` is where to start looking."""
    while ts < offsets.since[index]:
        index -= 1
    while index + 1 < len(offsets.since) and ts >= offsets.since[index + 1]:
        index += 1
    return index


@compiled
def phase_of_day(local_ms: int) -> float:
    """Part of the local day that has passed, 0 at midnight to just below 1."""
    return float((local_ms % DAY_MS) / DAY_MS)


@compiled
def phase_of_week(local_ms: int) -> float:
    """Part of the local week that has passed, 0 at midnight of Monday to just below 1."""
    return float(((local_ms + _SINCE_MONDAY_MS) % WEEK_MS) / WEEK_MS)
