"""The history that precedes a recorded run continues its counters and ends where the run begins."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from lab.samples import HISTORY_S, Row, history, read, stretched, write

if TYPE_CHECKING:
    from pathlib import Path

STEP_MS = 5000


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=20))
def test_counters_never_fall_across_repetitions(increases: list[int]) -> None:
    total, rows = 0, []
    for number, increase in enumerate(increases):
        total += increase
        rows.append(Row(10**12 + number * STEP_MS, "duri_core", "http_requests_total", "{}", float(total)))
    values = [one.value for one in [*history(rows, STEP_MS), *rows]]
    # Repetitions are joined by a mean step: they may round, they may not fall.
    assert all(after >= before - 1e-6 for before, after in pairwise(values))


def test_gauges_are_repeated_each_scrape_of_half_an_hour() -> None:
    rows = [Row(10**12 + n * STEP_MS, "duri_core", "db_pool_size", "{}", 10.0 + n) for n in range(12)]
    found = history(rows, STEP_MS)
    assert len(found) == HISTORY_S * 1000 / STEP_MS
    assert [after.ts - before.ts for before, after in pairwise([*found, *rows])] == [STEP_MS] * (len(found) + 11)
    assert {one.value for one in found} == {one.value for one in rows}


def test_faster_time_keeps_rates_and_gauges() -> None:
    """A second that stands for five holds five times as many requests; the pool is as large as it was."""
    counter = Row(0, "duri_core", "http_requests_total", "{}", 7.0)
    gauge = Row(0, "duri_core", "db_pool_size", "{}", 7.0)
    assert [one.value for one in stretched([counter, gauge], 5.0)] == [35.0, 7.0]


def test_the_age_of_a_transaction_grows_with_the_clock() -> None:
    age = Row(0, "duri_core", "pg_stat_activity_max_tx_duration", "{}", 2.0)
    assert [one.value for one in stretched([age], 5.0)] == [10.0]


def test_a_recording_is_read_in_order_of_time(tmp_path: Path) -> None:
    """Files hold one series after the other; a replay goes by time."""
    rows = [Row(ts, "duri_core", name, "{}", 0.1 * ts) for ts in (1, 2, 3) for name in ("b", "a")]
    write(tmp_path / "run.parquet", rows, {})
    assert read(tmp_path / "run.parquet") == sorted(rows)
