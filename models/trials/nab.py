"""A learner's verdicts on NAB as figures.

Three readings of the same verdicts, in NAB's three profiles:

raised  every alarm that was raised, at its first sample: nothing is chosen
ranked  the raised alarms ranked by their score, with one threshold over all series, as NAB allows every detector
scores  the score of every sample with one threshold, as NAB does

Leave one category out: each category with the threshold that was best on the others (`thresholds.nab_left_out`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.evaluation import NAB_PROFILES, EventCounts, NabSeries, nab_probation, nab_score, onsets, score_events
from models.replay import replay
from models.trials.figures import alarm_share, event_figures, rounded
from models.trials.thresholds import nab_left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from models.contracts import OnlineLearner, Verdicts
    from models.corpora import NabFile

LATER: Final = (1, 2, 3, 5, 8, 13, 21)
"""Rows left off at the start, for the spread over what should make no difference."""

READINGS: Final = ("raised", "ranked", "scores")
"""How verdicts become NAB's scores."""

_STANDARD: Final = NAB_PROFILES["standard"]


class JudgedNab(NamedTuple):
    """A series of NAB and what a learner said of it."""

    file: NabFile
    verdicts: Verdicts

    @property
    def category(self) -> str:
        """Folder in the series' name."""
        return self.file.name.split("/", maxsplit=1)[0]

    @property
    def start(self) -> int:
        """First row that is judged."""
        return nab_probation(len(self.file.ts))


def read(one: JudgedNab, reading: str) -> NabSeries:
    """Scores of a series in this reading."""
    opened, score = onsets(one.verdicts.alarm), one.verdicts.score.astype(np.float64)
    if reading == "raised":
        score = opened.astype(np.float64)
    elif reading == "ranked":
        score = np.where(opened, score, 0.0)
    return NabSeries(score, one.file.windows)


def nab_report(judged: Sequence[JudgedNab]) -> dict[str, Any]:
    """All figures of verdicts on NAB, as plain values; leaving a category out needs two of them."""
    categories: dict[str, list[JudgedNab]] = defaultdict(list)
    for one in judged:
        categories[one.category].append(one)
    counts = {name: sum(map(_events, many), EventCounts()) for name, many in categories.items()}
    left_out = {reading: _left_out(categories, reading) for reading in ("ranked", "scores") if len(categories) > 1}
    return {
        "series": len(judged),
        "samples": sum(len(one.file.ts) for one in judged),
        "profiles": {reading: _profiles(judged, reading) for reading in READINGS},
        "left_out": {reading: total for reading, (total, _) in left_out.items()},
        "events": {**event_figures(sum(counts.values(), EventCounts())), "in_alarm": _in_alarm(judged)},
        "categories": {
            name: {
                "series": len(many),
                "raised": _own_score(many),
                **{f"left_out_{reading}": parts[name] for reading, (_, parts) in left_out.items()},
                **event_figures(counts[name]),
                "in_alarm": _in_alarm(many),
            }
            for name, many in categories.items()
        },
    }


def _profiles(judged: Sequence[JudgedNab], reading: str) -> dict[str, Any]:
    series = [read(one, reading) for one in judged]
    results = {}
    for name, profile in NAB_PROFILES.items():
        result = nab_score(series, profile, 1.0 if reading == "raised" else None)
        results[name] = rounded(result.score)
        if reading != "raised":
            results[f"{name}_threshold"] = rounded(result.threshold, 4)
    return results


def _left_out(
    categories: Mapping[str, Sequence[JudgedNab]], reading: str
) -> tuple[float | None, dict[str, dict[str, float | None]]]:
    groups = {name: [read(one, reading) for one in many] for name, many in categories.items()}
    total, parts = nab_left_out(groups, _STANDARD)
    return rounded(total), {
        name: {"standard": rounded(one.figure), "threshold": rounded(one.threshold, 4)} for name, one in parts.items()
    }


def _own_score(many: Sequence[JudgedNab]) -> float | None:
    if not any(len(one.file.windows) for one in many):
        return None
    return rounded(nab_score([read(one, "raised") for one in many], _STANDARD, 1.0).score)


def _in_alarm(judged: Sequence[JudgedNab]) -> float | None:
    return alarm_share([(one.verdicts.alarm, one.start) for one in judged])


def _events(one: JudgedNab) -> EventCounts:
    file = one.file
    return score_events(file.labels, one.verdicts.alarm, start=one.start, ts=file.ts)


def judge_later(make: Callable[[], OnlineLearner], file: NabFile, later: int) -> JudgedNab:
    """Judge a series that begins so many rows later."""
    cut = file._replace(ts=file.ts[later:], values=file.values[later:], windows=np.maximum(file.windows - later, 0))
    return JudgedNab(cut, replay(make, cut.ts, cut.values))


def nab_spread(starts: Sequence[Sequence[JudgedNab]]) -> dict[str, dict[str, float | None]]:
    """Mean, least and greatest standard score over some starts of the same series, by reading."""
    result = {}
    for reading in READINGS:
        scores = [
            nab_score([read(one, reading) for one in judged], _STANDARD, 1.0 if reading == "raised" else None).score
            for judged in starts
        ]
        result[reading] = {
            "mean": rounded(float(np.mean(scores))),
            "least": rounded(min(scores)),
            "greatest": rounded(max(scores)),
        }
    return result
