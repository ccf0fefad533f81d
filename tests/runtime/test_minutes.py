from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from pipeline.runtime.minutes import report_minutes, totals

if TYPE_CHECKING:
    from collections.abc import Mapping


def test_counts_are_put_together() -> None:
    """Partitions and labels add up; levels and other counts are left out."""
    partitions = [
        {"samples_total": 3.0, 'deadletters_total{reason="a"}': 1.0, "series": 9.0},
        {"samples_total": 4.0, 'deadletters_total{reason="b"}': 2.0},
    ]
    assert totals(partitions) == {"samples": 7, "dead_letters": 3}


def reported(minutes: list[Mapping[str, float]]) -> list[dict[str, object]]:
    """What is logged while the statistics go through these states."""
    states = iter(minutes)

    async def run() -> None:
        with contextlib.suppress(RuntimeError):
            await report_minutes(lambda: [next(states)], period_s=0.001)

    with capture_logs() as logs:
        asyncio.run(run())
    return list(logs)


def test_a_minute_is_one_line_and_loss_is_a_warning() -> None:
    """A line tells of the last minute, loss is a warning with the remedy, and an idle minute says nothing."""
    lines = reported(
        [
            {"samples_total": 10.0},
            {"samples_total": 30.0},
            {"samples_total": 30.0},
            {"samples_total": 35.0, "late_samples_total": 2.0},
        ]
    )
    assert [(line["log_level"], line.get("samples"), line.get("late")) for line in lines] == [
        ("info", 20, None),
        ("warning", 5, 2),
    ]
    assert "key" in str(lines[1]["remedy"])


def test_the_remedy_is_for_what_was_lost_most() -> None:
    """One remedy to try first; what else was lost is counted in the same line."""
    (line,) = reported([{}, {"late_samples_total": 2.0, 'deadletters_total{reason="syntax"}': 700.0}])
    assert (line["late"], line["dead_letters"]) == (2, 700)
    assert line["remedy"] == "dead_letters: `duri deadletter list`"
