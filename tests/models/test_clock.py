"""Local time from arrays agrees with zoneinfo."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.online.clock import offset_index, phase_of_day, phase_of_week, zone_offsets

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"]


@given(seconds=st.integers(0, 3_100_000_000), zone=st.sampled_from(ZONES), start=st.integers(0, 10))
def test_offsets_agree_with_zoneinfo(seconds, zone, start):
    """At any second up to 2068 the array gives what zoneinfo gives, wherever the walk starts."""
    offsets = zone_offsets(zone)
    index = offset_index(offsets, seconds * 1000, min(start, len(offsets.since) - 1))
    there = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert there is not None
    assert offsets.shift[index] == there.total_seconds() * 1000


@pytest.mark.parametrize(("utc", "local"), [("2025-03-30T00:59:59", 1.99), ("2025-03-30T01:00:00", 3.0)])
def test_berlin_skips_an_hour_in_march(utc, local):
    """The clock on the wall jumps from two to three."""
    ts = int(datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp() * 1000)
    offsets = zone_offsets("Europe/Berlin")
    hours = phase_of_day(ts + offsets.shift[offset_index(offsets, ts, 0)]) * 24
    assert hours == pytest.approx(local, abs=0.01)


def test_a_week_begins_on_monday():
    """2024-01-01 was a Monday."""
    monday = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp() * 1000)
    assert phase_of_week(monday) == 0.0
    assert phase_of_week(monday - 1) == pytest.approx(1.0)


def test_an_unknown_zone_is_named():
    """The error says which zone."""
    with pytest.raises(ValueError, match="Mars/Olympus"):
        zone_offsets("Mars/Olympus")
