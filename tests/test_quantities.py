from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from pipeline import quantities as fmt


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.72, "s", "720 ms"),
        (2.345, "s", "2.35 s"),
        (0.00035, "s", "350 µs"),
        (0.9996, "s", "1 s"),
        (0.0, "s", "0 s"),
        (4800.0, "s", "1 h 20 min"),
        (0.951, "1", "95 %"),
        (0.00123, "1", "0.12 %"),
        (0.0999, "1", "10 %"),
        (1.0, "1", "100 %"),
        (0.0, "1", "0 %"),
        (float(512 << 20), "By", "512 MiB"),
        (float(1 << 30), "By", "1 GiB"),
        (1.5 * (1 << 30), "By", "1.5 GiB"),
        (644e6, "By", "644 MB"),
        (1013.7e6, "By", "1.01 GB"),
        (0.0, "By", "0 B"),
        (-5e6, "By", "-5 MB"),
        (123.456, "1/s", "123/s"),
        (1500.0, "{request}/s", "1 500/s"),
        (2.4e6, "By/s", "2.4 MB/s"),
        (37.0, "{connection}", "37"),
        (85.0, "%", "85 %"),
        (12.0, "", "12"),
        (1981440.0, "", "1.98 M"),
        (12345.6, "", "12.3 k"),
        (0.00001, "", "1e-05"),
        (None, "s", "-"),
        ("allkeys-lru", "", "allkeys-lru"),
        (math.nan, "s", "nan"),
    ],
)
def test_values_in_their_units(number, unit, text):
    """Each unit as people read it."""
    assert fmt.value(number, unit) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (75, "1 min 15 s"),
        (2100, "35 min"),
        (2130, "35 min"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (90000, "1 d 1 h"),
        (-2280, "-38 min"),
    ],
)
def test_durations(seconds, text):
    """The two parts that matter."""
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [(1, "anomaly", "1 anomaly"), (2, "anomaly", "2 anomalies"), (3, "day", "3 days"), (0, "record", "0 records")],
)
def test_counts(number, noun, text):
    """One is singular."""
    assert fmt.count(number, noun) == text


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_listed(names, text):
    """The last one after an and."""
    assert fmt.listed(names) == text


def test_clock():
    """Day of the week and time."""
    assert fmt.clock(datetime(2025, 1, 7, 13, 5, tzinfo=UTC)) == "Tue 13:05"
