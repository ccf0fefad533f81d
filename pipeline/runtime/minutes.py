"""What a worker has done, in one log line a minute; a warning where samples were lost or not modelled."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from structlog import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

log = get_logger(__name__)

_PERIOD_S = 60.0
_SHOWN = {
    "samples_total": "samples",
    "detect_samples_total": "learned",
    "late_samples_total": "late",
    "not_finite_samples_total": "not_finite",
    "unmodelled_samples_total": "unmodelled",
    "series_refused_total": "series_refused",
    "deadletters_total": "dead_letters",
    "late_frames_total": "late_frames",
    "model_failures_total": "model_failures",
    "recommendations_total": "recommendations",
}
_LOST = ("late", "unmodelled", "series_refused", "dead_letters", "late_frames", "model_failures")
_REMEDY = (
    "late: publish each series through one partition (the service as key), in order of time; "
    "series refused: raise detect.max_series; dead letters: `duri deadletter list`; "
    "model failures: choose another detect.multivariate.river, or none"
)


async def report_minutes(statistics: Callable[[], Iterable[Mapping[str, float]]], period_s: float = _PERIOD_S) -> None:
    """Log, until cancelled, what the counts in the stages' statistics have grown by in each period."""
    before = totals(statistics())
    while True:
        await asyncio.sleep(period_s)
        now = totals(statistics())
        # A partition that moved to another worker takes its counts along.
        grown = {name: int(count - before[name]) for name, count in now.items() if count > before[name]}
        before = now
        if any(name in grown for name in _LOST):
            log.warning("last minute", **grown, remedy=_REMEDY)
        elif grown:
            log.info("last minute", **grown)


def totals(statistics: Iterable[Mapping[str, float]]) -> Counter[str]:
    """The counts that are shown, over all partitions and labels."""
    result: Counter[str] = Counter()
    for one in statistics:
        for name, value in one.items():
            shown = _SHOWN.get(name.partition("{")[0])
            if shown is not None:
                result[shown] += int(value)
    return result
