"""A learner's verdicts on labelled series as event figures, by domain (the folder of a series) and in total.

Three readings of the same verdicts, as for NAB:

raised  the alarms as they were raised: nothing is chosen
ranked  those raised alarms whose first sample has a score at or above one threshold
scores  the samples whose score is at or above one threshold

Threshold `best`: with the highest F1, in sample. `left_out`: each domain with the threshold that is best on the others.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.evaluation import PROBATION, EventCounts, runs, score_events
from models.trials.figures import alarm_share, event_figures, rounded
from models.trials.thresholds import ScoredEvents, event_sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.contracts import Verdicts
    from models.corpora import LabelledFile


class JudgedEvents(NamedTuple):
    """A labelled series and what a learner said of it."""

    file: LabelledFile
    verdicts: Verdicts

    @property
    def domain(self) -> str:
        """Folder in the series' name."""
        return self.file.name.split("/", maxsplit=1)[0]

    @property
    def start(self) -> int:
        """First row that is judged."""
        return int(PROBATION * len(self.file.ts))


def count_events(one: JudgedEvents) -> EventCounts:
    """Count events and alarms as raised, after the probation of 15 %."""
    return score_events(one.file.labels, one.verdicts.alarm, ts=one.file.ts)


def events_report(judged: Sequence[JudgedEvents]) -> dict[str, Any]:
    """All figures of verdicts on labelled series, as plain values; leaving a domain out needs two of them."""
    domains: dict[str, list[JudgedEvents]] = defaultdict(list)
    for one in judged:
        domains[one.domain].append(one)
    counts = {name: sum(map(count_events, many), EventCounts()) for name, many in domains.items()}
    sweeps = {
        reading: event_sweep({name: [read(one) for one in many] for name, many in domains.items()})
        for reading, read in READINGS.items()
    }
    left_out = {reading: sweep.left_out() if len(domains) > 1 else {} for reading, sweep in sweeps.items()}
    return {
        "series": len(judged),
        "samples": sum(len(one.file.ts) for one in judged),
        "raised": {**event_figures(sum(counts.values(), EventCounts())), "in_alarm": _in_alarm(judged)},
        "best": {reading: _at(*sweep.best()) for reading, sweep in sweeps.items()},
        "left_out": {
            reading: event_figures(sum((one for one, _ in parts.values()), EventCounts()))
            for reading, parts in left_out.items()
            if parts
        },
        "domains": {
            name: {
                "series": len(many),
                **event_figures(counts[name]),
                "in_alarm": _in_alarm(many),
                "left_out": {reading: _at(*parts[name]) for reading, parts in left_out.items() if parts},
            }
            for name, many in domains.items()
        },
    }


def _in_alarm(judged: Sequence[JudgedEvents]) -> float | None:
    return alarm_share([(one.verdicts.alarm, one.start) for one in judged])


def _at(counts: EventCounts, threshold: float) -> dict[str, Any]:
    return {"threshold": rounded(threshold, 4), **event_figures(counts)}


def _ranked(one: JudgedEvents) -> ScoredEvents:
    """Each sample in alarm has the score of its alarm's first."""
    scores = np.zeros(len(one.file.ts))
    for first, last in runs(one.verdicts.alarm):
        scores[first : last + 1] = one.verdicts.score[first]
    return ScoredEvents(one.file.labels, scores, one.file.ts)


def _scores(one: JudgedEvents) -> ScoredEvents:
    return ScoredEvents(one.file.labels, one.verdicts.score.astype(np.float64), one.file.ts)


READINGS: Final = {"ranked": _ranked, "scores": _scores}
"""Readings with a threshold."""
