"""Evaluation: what a trained model adds to what runs without one, on a period that neither fit nor threshold saw.

Counted as events: one found counts once, however long its alarm, and alarms that the calibration of the threshold takes
for one are one (`EPISODE_GAP`). After an anomaly that was put in, an alarm of what still remembers it is neither right
nor wrong (`models.offline.injected.AFTERMATH_MS`), whoever raises it. Who raises alarms:

    static  the static rules alone
    none    static rules and online learners: no trained model at all
    new     these and the model
    live    these and the version that is live
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.evaluation import EventCounts, runs, score_events
from models.offline.bootstrap import Interval, f1_difference
from models.offline.scoring import abnormality
from models.offline.stability import counted
from models.trials.thresholds import ScoredEvents, event_sweep
from pipeline.offline.training.fitting import EPISODE_GAP
from pipeline.offline.training.sought import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy.typing as npt

    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Block
    from pipeline.offline.training.sought import Event

    Bools = npt.NDArray[np.bool_]

_DAY_MS: Final = 86_400_000
_SLACK: Final = 2
"""Frames by which an alarm may miss an event."""
STATIC, NONE, NEW, LIVE = "static", "none", "new", "live"


@dataclass(frozen=True, slots=True)
class Scorer:
    """A trained model: its estimator and alarm threshold."""

    estimator: Any
    threshold: float

    def scores(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How abnormal rows are, float64[n] for features float64[n, f]; minus infinity while warming up."""
        return np.nan_to_num(abnormality(self.estimator, features), nan=-np.inf)


class JudgedEvent(NamedTuple):
    """An event of a service, and after how many seconds each found it; None: not at all."""

    service: str
    event: Event
    delay_s: Mapping[str, float | None]


class Lead(NamedTuple):
    """Against the static rules: events that both found and how much earlier (median, s), and that one alone found."""

    both: int
    median_s: float
    only_new: int
    only_static: int


class Point(NamedTuple):
    """What a model alone gives at one threshold."""

    threshold: float
    precision: float
    recall: float


@dataclass(slots=True)
class Evaluation:
    """Counts by block (a day of a service) for each who, the events, and each model's curve.

    false_alarms: of the new model alone, on frames that nobody has labelled and nothing was put into. features: values
    by bin in these frames, int64[features, BINS].
    """

    source: Source = Source.INJECTED
    counts: dict[str, list[EventCounts]] = field(default_factory=dict)
    by_service: dict[str, dict[str, EventCounts]] = field(default_factory=dict)
    events: list[JudgedEvent] = field(default_factory=list)
    curves: dict[str, list[Point]] = field(default_factory=dict)
    false_alarms: int = 0
    service_days: float = 0.0
    step_s: float = 60.0
    features: npt.NDArray[np.int64] | int = 0

    def total(self, who: str) -> EventCounts:
        """All blocks together."""
        return sum(self.counts.get(who, []), EventCounts())

    def false_alarms_per_service_day(self, who: str) -> float:
        """Alarms that were not right, by service and day."""
        total = self.total(who)
        return (total.episodes - total.right) / max(self.service_days, 1e-9)

    def over(self, other: str, seed: int) -> Interval:
        """How much better `new` is than the other, in F1, with a paired bootstrap interval."""
        return f1_difference(_table(self.counts[NEW]), _table(self.counts[other]), np.random.default_rng(seed))

    def by_signal(self) -> dict[str, list[JudgedEvent]]:
        """Events by each signal that takes part in them; events of a whole service are under an empty name."""
        found: dict[str, list[JudgedEvent]] = {}
        for one in self.events:
            for signal in one.event.signals or ("",):
                found.setdefault(signal, []).append(one)
        return dict(sorted(found.items()))

    def by_kind(self) -> dict[tuple[str, float], list[JudgedEvent]]:
        """Events by kind and size."""
        found: dict[tuple[str, float], list[JudgedEvent]] = {}
        for one in self.events:
            found.setdefault((one.event.kind, one.event.size), []).append(one)
        return dict(sorted(found.items()))


def _table(counts: list[EventCounts]) -> npt.NDArray[np.float64]:
    return np.array([(one.found, one.events, one.right, one.episodes) for one in counts], dtype=np.float64)


def found_by(events: Iterable[JudgedEvent], who: str) -> int:
    """How many of the events it found."""
    return sum(one.delay_s[who] is not None for one in events)


def median_delay_s(events: Iterable[JudgedEvent], who: str) -> float:
    """After how many seconds it finds those that it finds; NaN where it finds none."""
    delays = [delay for delay in (one.delay_s[who] for one in events) if delay is not None]
    return float(np.median(delays)) if delays else float("nan")


def lead(events: Iterable[JudgedEvent], who: str) -> Lead:
    """How much earlier than the static rules it finds them."""
    pairs = [(one.delay_s[STATIC], one.delay_s[who]) for one in events]
    earlier = [static - mine for static, mine in pairs if static is not None and mine is not None]
    return Lead(
        len(earlier),
        float(np.median(earlier)) if earlier else float("nan"),
        sum(static is None and mine is not None for static, mine in pairs),
        sum(static is not None and mine is None for static, mine in pairs),
    )


def evaluate(blocks: Iterable[Block], span: Span, scorers: Mapping[str, Scorer], source: Source) -> Evaluation:
    """Count events found and alarms raised within the span. The blocks are read with learners.

    scorers: `new`, and `live` where there is one.
    """
    result = Evaluation(source=source)
    scored: dict[str, list[ScoredEvents]] = {who: [] for who in scorers}
    for block in blocks:
        part = block.within(span)
        result.step_s = block.step_s
        for service in range(len(block.services)):
            seen = _Seen(block, service, part)
            labels = seen.labels()
            raised = _without_model(block, service, part)
            for who, scorer in scorers.items():
                scores = scorer.scores(block.judged[part, service])
                scored[who].append(ScoredEvents(labels, scores, block.start[part], seen.aftermath()))
                raised[who] = raised[NONE] | (scores >= scorer.threshold)
            _count(result, seen, labels, raised)
            _count_false_alarms(result, seen, scorers[NEW])
    result.curves = {who: _curve(series, scorers[who].threshold) for who, series in scored.items()}
    return result


class _Seen(NamedTuple):
    """One service of a block within the span."""

    block: Block
    service: int
    part: slice

    @property
    def name(self) -> str:
        return self.block.services[self.service]

    def events(self) -> Iterator[Event]:
        """Its events, in frames of the part."""
        for event in self.block.sought:
            first, after = max(event.first, self.part.start), min(event.after, self.part.stop)
            if event.service == self.service and first < after:
                yield event._replace(first=first - self.part.start, after=after - self.part.start)

    def labels(self) -> Bools:
        """bool[t] of the part: where its events are."""
        found = np.zeros(self.part.stop - self.part.start, dtype=bool)
        for event in self.events():
            found[event.first : event.after] = True
        return found

    def aftermath(self) -> Bools:
        """bool[t] of the part: where an alarm may be of what was put in before."""
        return self.block.aftermath[self.part, self.service]


def _without_model(block: Block, service: int, part: slice) -> dict[str, Bools]:
    if block.bank is None or block.static is None:
        raise ValueError("evaluation needs what the online learners say: read blocks with their settings")
    static = block.static[part, service]
    return {STATIC: static, NONE: static | block.bank[part, service]}


def _count(result: Evaluation, seen: _Seen, labels: Bools, raised: Mapping[str, Bools]) -> None:
    days, excused = seen.block.start[seen.part] // _DAY_MS, seen.aftermath()
    mine = result.by_service.setdefault(seen.name, {})
    for day in np.unique(days):
        of_day = days == day
        for who, alarm in raised.items():
            counts = score_events(
                labels[of_day], alarm[of_day], start=0, slack=_SLACK, gap=EPISODE_GAP, excused=excused[of_day]
            )
            result.counts.setdefault(who, []).append(counts)
            mine[who] = mine.get(who, EventCounts()) + counts
    for event in seen.events():
        delays = {who: _delay_s(event, alarm, result.step_s) for who, alarm in raised.items()}
        result.events.append(JudgedEvent(seen.name, event, delays))


def _delay_s(event: Event, alarm: Bools, step_s: float) -> float | None:
    begin = max(event.first - _SLACK, 0)
    found = np.flatnonzero(alarm[begin : event.after + _SLACK])
    return max(int(found[0]) + begin - event.first, 0) * step_s if len(found) else None


def _count_false_alarms(result: Evaluation, seen: _Seen, scorer: Scorer) -> None:
    clean = seen.block.clean[seen.part, seen.service]
    alarm = (scorer.scores(clean) >= scorer.threshold) & ~seen.block.abnormal[seen.part, seen.service]
    result.features += counted(clean[~seen.block.abnormal[seen.part, seen.service]])
    result.false_alarms += len(list(runs(alarm, EPISODE_GAP)))
    result.service_days += float(np.isfinite(clean).all(axis=1).sum()) * result.step_s / 86_400


def _curve(series: list[ScoredEvents], threshold: float) -> list[Point]:
    """Precision and recall of the model alone at thresholds over the range of its scores, its own among them."""
    ready = np.concatenate([one.scores[np.isfinite(one.scores)] for one in series])
    if not len(ready):
        return []
    least = float(ready.min())
    whole = [one._replace(scores=np.maximum(one.scores, least)) for one in series]
    sweep = event_sweep({"all": whole}, start=0, also=[threshold], gap=EPISODE_GAP)
    return [
        Point(float(level), one.precision, one.recall)
        for level, one in zip(sweep.levels, sweep.counts["all"], strict=True)
    ]
