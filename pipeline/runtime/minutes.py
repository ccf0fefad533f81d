"""What a worker has done, in one log line a minute; a warning where samples were lost or not modelled.

The warning has the remedy for what was lost most; the rest stands beside it as counts.
"""

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
_REMEDIES = {
    "late": "publish each series through one partition (the service as key), in order of time",
    "unmodelled": "raise detect.max_series",
    "series_refused": "raise detect.max_series",
    "dead_letters": "`duri deadletter list`",
    "late_frames": "raise advise.source_timeout_s, or see why a partition of detect lags",
    "model_failures": "choose another detect.multivariate.river, or none",
}
"""What is lost, or not as it should be, and what to do about it."""


async def report_minutes(statistics: Callable[[], Iterable[Mapping[str, float]]], period_s: float = _PERIOD_S) -> None:
    """Log, until cancelled, what the counts in the stages' statistics have grown by in each period."""
    before = totals(statistics())
    while True:
        await asyncio.sleep(period_s)
        now = totals(statistics())
        # A partition that moved to another worker takes its counts along.
        grown = {name: int(count - before[name]) for name, count in now.items() if count > before[name]}
        before = now
        lost = {name: count for name, count in grown.items() if name in _REMEDIES}
        if lost:
            most = max(lost, key=lost.__getitem__)
            log.warning("last minute", **grown, remedy=f"{most}: {_REMEDIES[most]}")
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
