"""Evaluation: what a trained model adds to the online learners, on a period that neither fit nor threshold saw.

Where people have labelled trouble in that period, that is what is to be found; elsewhere anomalies of stated kind
and size are put in. Counted as events: one found counts once, however long its alarm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation import EventCounts, runs, score_events
from models.offline.bootstrap import Interval, f1_difference
from pipeline.offline.training.fitting import EPISODE_GAP, abnormality

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt

    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Block

    Bools = npt.NDArray[np.bool_]

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Scorer:
    """A trained model: its estimator and alarm threshold."""

    estimator: Any
    threshold: float

    def alarms(self, features: npt.NDArray[np.float64]) -> Bools:
        """bool[n] for features float64[n, f]."""
        found: Bools = np.nan_to_num(abnormality(self.estimator, features), nan=-np.inf) >= self.threshold
        return found


@dataclass(slots=True)
class Evaluation:
    """Counts by block (a day of a service), for each way of raising alarms: `none`, `new`, `live`, `new alone`."""

    source: str = "injected"
    counts: dict[str, list[EventCounts]] = field(default_factory=dict)
    by_service: dict[str, EventCounts] = field(default_factory=dict)
    false_alarms: int = 0
    service_days: float = 0.0
    step_s: float = 60.0

    def total(self, who: str) -> EventCounts:
        """All blocks together."""
        return sum(self.counts.get(who, []), EventCounts())

    def over(self, other: str, seed: int) -> Interval:
        """How much better `new` is than the other, in F1, with a paired bootstrap interval."""
        return f1_difference(_table(self.counts["new"]), _table(self.counts[other]), np.random.default_rng(seed))


def _table(counts: list[EventCounts]) -> npt.NDArray[np.float64]:
    return np.array([(one.found, one.events, one.right, one.episodes) for one in counts], dtype=np.float64)


def evaluate(blocks: Iterable[Block], span: Span, scorers: Mapping[str, Scorer], *, labelled: bool) -> Evaluation:
    """Count events found and alarms raised by the online learners alone, and by them with each scorer."""
    result = Evaluation(source="labels" if labelled else "injected")
    for block in blocks:
        part = block.within(span)
        result.step_s = float(block.start[1] - block.start[0]) / 1000 if len(block.start) > 1 else 60.0
        features = block.clean if labelled else block.dirty
        bank = block.bank if labelled else block.bank_dirty
        events = block.trouble if labelled else block.injected
        for service, name in enumerate(block.services):
            raised = {"none": _or_nothing(bank, part, service)}
            for who, scorer in scorers.items():
                raised[who] = raised["none"] | scorer.alarms(features[part, service])
            days = block.start[part] // _DAY_MS
            for day in np.unique(days):
                mine = days == day
                for who, alarm in raised.items():
                    counts = score_events(events[part, service][mine], alarm[mine], start=0)
                    result.counts.setdefault(who, []).append(counts)
                    if who == "new":
                        result.by_service[name] = result.by_service.get(name, EventCounts()) + counts
            _count_false_alarms(result, block, part, service, scorers["new"])
    return result


def _or_nothing(bank: Bools | None, part: slice, service: int) -> Bools:
    if bank is None:
        raise ValueError("evaluation needs what the online learners say: read blocks with their settings")
    return bank[part, service]


def _count_false_alarms(result: Evaluation, block: Block, part: slice, service: int, scorer: Scorer) -> None:
    """Of the model alone, on frames that nobody has labelled and nothing was put into."""
    alarm = scorer.alarms(block.clean[part, service]) & ~block.abnormal[part, service]
    result.false_alarms += len(list(runs(alarm, EPISODE_GAP)))
    ready = np.isfinite(block.clean[part, service]).all(axis=1)
    result.service_days += float(ready.sum()) * result.step_s / 86_400
