"""What no change may make worse, whatever it is meant to mend: errors, and latency without more requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.comparison import NOTABLE_RATIO
from pipeline import quantities as fmt
from pipeline.advise.incidents.cause import credible
from pipeline.advise.outcomes.windows import MIN_INTERVALS
from pipeline.advise.rules.facts import BUSIER

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.advise.outcomes.windows import Trial, Windows

    Float64s = npt.NDArray[np.float64]

_ERRORS: Final = "http.error_ratio"
_RATE: Final = "http.rps"
_LATENCIES: Final = ("http.latency.mean", "http.latency.p95")
_POINT: Final = 0.01
_MOST: Final = 0.9
"""Errors come and go: as many as in one of ten intervals before are no more than before."""
LATENCY_MS: Final = 120_000
"""Neighbouring intervals are alike: latency that is barely worse is judged after two minutes of them."""
_LEAST: Final = 3
"""Intervals without which no latency is judged: fewer cannot be significant by rank."""


class Harmed(NamedTuple):
    """A signal of a service that must not get worse and did."""

    service: str
    signal: str
    text: str
    gone: str
    """CEL: holds where it is mended; `usual` has the signals as they were before the change."""


def harmed_by(windows: Windows, trial: Trial, frame_ms: int) -> Harmed | None:
    """Whether requests fail more, or take longer without being more, than before the change."""
    failing, before = windows.after(trial, _ERRORS, trial.at), trial.before.get(_ERRORS)
    rates, rates_before = windows.after(trial, _RATE, trial.at), trial.before.get(_RATE)
    if before and len(failing):
        newest, usual = float(failing[-1]), _most_errors(before)
        requests = float(rates[-1]) * frame_ms / 1000.0 if len(rates) else 0.0
        if newest >= usual + max(_POINT, (NOTABLE_RATIO - 1.0) * usual) and (
            not requests or credible(newest * requests, requests, usual)
        ):
            text = f"{fmt.percent(newest)} of the requests fail, up to {fmt.percent(usual)} did before"
            return Harmed(trial.service, _ERRORS, text, f'signals["{_ERRORS}"] < usual["{_ERRORS}"] + {_POINT}')
    if rates_before and len(rates) and np.median(rates) > BUSIER * np.median(rates_before):
        return None
    for signal in _LATENCIES:
        earlier = trial.before.get(signal, [])
        after = windows.after(trial, signal, trial.at)
        if _enough(earlier, after, frame_ms) and windows.worse(trial, signal, trial.at, None):
            rose = (fmt.seconds(float(np.median(values))) for values in (earlier, after))
            text = f"{signal} rose from {' to '.join(rose)}"
            return Harmed(trial.service, signal, text, f'signals["{signal}"] <= 1.3 * usual["{signal}"]')
    return None


def _most_errors(before: list[float]) -> float:
    """The share of requests that failed before a change, as it was in nine of ten intervals, or on average."""
    return max(float(np.mean(before)), float(np.quantile(before, _MOST)))


def _enough(before: list[float], after: Float64s, frame_ms: int) -> bool:
    """Whether so many intervals tell at this size of effect: the window grows until they do.

    As a cumulative sum of log ratios would (Page 1954), with the median in place of the mean, since one bad interval
    proves nothing: what is `NOTABLE_RATIO` times as slow takes the two minutes, 2.5 times as slow a third of that.
    What is already returning, as after a start with cold caches, waits for the whole window.
    """
    whole = max(MIN_INTERVALS, round(LATENCY_MS / frame_ms))
    if len(after) >= whole or not before:
        return len(after) >= whole
    usual = float(np.median(before))
    if len(after) < _LEAST or usual <= 0.0 or after[-1] < NOTABLE_RATIO * usual:
        return False
    return len(after) * math.log(float(np.median(after)) / usual) >= whole * math.log(NOTABLE_RATIO)
