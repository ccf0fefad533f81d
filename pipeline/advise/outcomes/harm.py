"""What no change may make worse, whatever it is meant to mend: errors, and latency without more requests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.comparison import NOTABLE_RATIO, SIGNIFICANT, Verdict, binomial_tail
from pipeline import quantities as fmt
from pipeline.advise.outcomes.windows import MAX_INTERVALS, MIN_INTERVALS
from pipeline.advise.rules.facts import BUSIER
from pipeline.detect.frame import WHOLE_SERVICE_SIGNAL
from pipeline.records import Detector

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pipeline.advise.frames import Frame
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
    since: int = 0
    """When it began (ms), where that is known; 0: some time after the change."""


class Look(NamedTuple):
    """The interval that is looked at, and how many services are looked at for the same change."""

    end_ms: int
    frame_ms: int
    services: int = 1


def harmed_by(windows: Windows, trial: Trial, look: Look) -> Harmed | None:
    """Whether requests of this interval fail more, or take longer without being more, than before the change."""
    return _failing(windows, trial, look) or _slower(windows, trial, look)


def _failing(windows: Windows, trial: Trial, look: Look) -> Harmed | None:
    """Whether a percentage point more of them fail, and more than chance brings.

    As likely as one of a hundred changes by chance is none, shared among the services that are looked at.
    """
    newest, rate = windows.now(trial, _ERRORS, look.end_ms), windows.now(trial, _RATE, look.end_ms)
    before = trial.before.get(_ERRORS)
    if newest is None or not before or (rate is None and trial.before.get(_RATE)):
        return None
    usual = _most_errors(before)
    if newest < usual + max(_POINT, (NOTABLE_RATIO - 1.0) * usual):
        return None
    requests = (rate or 0.0) * look.frame_ms / 1000.0
    chances = [_chance(newest, requests, window, look.frame_ms) for window in (trial.before, trial.healthy)]
    if requests and max(chances) * look.services >= SIGNIFICANT:
        return None
    text = f"{fmt.percent(newest)} of the requests fail, up to {fmt.percent(usual)} did before"
    return Harmed(trial.service, _ERRORS, text, f'signals["{_ERRORS}"] < usual["{_ERRORS}"] + {_POINT}')


def _chance(share: float, requests: float, window: Mapping[str, list[float]], frame_ms: int) -> float:
    """How likely it is that so many requests fail where as many do as in the window; 0 where that has none.

    Of all failures in both, those that fall into the interval: a binomial of the share of requests that it has, so that
    what is usual is no more certain than the window is long (Przyborowski and Wilenski 1940).
    """
    shares, rates = window.get(_ERRORS, []), window.get(_RATE, [])
    usual_requests = float(np.mean(rates)) * frame_ms / 1000.0 * len(shares) if rates else 0.0
    if not usual_requests:
        return 0.0
    failed, usually = round(share * requests), round(float(np.mean(shares)) * usual_requests)
    return binomial_tail(failed, failed + usually, requests / (requests + usual_requests))


def _slower(windows: Windows, trial: Trial, look: Look) -> Harmed | None:
    rates, rates_before = windows.after(trial, _RATE, trial.at), trial.before.get(_RATE)
    if rates_before and len(rates) and np.median(rates) > BUSIER * np.median(rates_before):
        return None
    for signal in _LATENCIES:
        if windows.now(trial, signal, look.end_ms) is None:
            continue
        earlier = trial.before.get(signal, [])
        after = windows.after(trial, signal, trial.at)
        if _enough(earlier, after, look) and _worse(windows, trial, signal, after):
            rose = (fmt.seconds(float(np.median(values))) for values in (earlier, after))
            text = f"{signal} rose from {' to '.join(rose)}"
            return Harmed(trial.service, signal, text, f'signals["{signal}"] <= 1.3 * usual["{signal}"]')
    return None


def silence(frame: Frame, since: int) -> Harmed | None:
    """Whether no data of the service or of its requests comes since then (ms), as the detector of absence says."""
    began = [
        each.began
        for each in frame.anomalies
        if Detector.ABSENT in each.detectors and each.signal in (WHOLE_SERVICE_SIGNAL, _RATE) and each.began >= since
    ]
    if not began:
        return None
    return Harmed(frame.service, _RATE, "no data comes", f'"{_RATE}" in signals', min(began))


def _worse(windows: Windows, trial: Trial, signal: str, after: Float64s) -> bool:
    """Whether it is worse than just before the change, and than what was healthy, where that is known."""
    healthy = trial.healthy.get(signal, [])
    usual = len(healthy) >= MIN_INTERVALS
    return windows.worse(trial, signal, trial.at, None) and (
        not usual or windows.verdict(signal, healthy, after, None) is Verdict.WORSE
    )


def _most_errors(before: list[float]) -> float:
    """The share of requests that failed before a change, as it was in nine of ten intervals, or on average."""
    return max(float(np.mean(before)), float(np.quantile(before, _MOST)))


def whole_window(look: Look) -> int:
    """Intervals after which latency that is barely worse is judged."""
    longer = 1.0 + math.log(look.services) / math.log(1.0 / SIGNIFICANT)
    return min(MAX_INTERVALS, max(MIN_INTERVALS, round(longer * LATENCY_MS / look.frame_ms)))


def _enough(before: list[float], after: Float64s, look: Look) -> bool:
    """Whether so many intervals tell at this size of effect: the window grows until they do.

    As a cumulative sum of log ratios would (Page 1954), with the median in place of the mean, since one bad interval
    proves nothing: what is `NOTABLE_RATIO` times as slow takes the two minutes, 2.5 times as slow a third of that.
    What is already returning, as after a start with cold caches, waits for the whole window. The more services are
    looked at the longer it is, as the threshold of such a sum grows by the logarithm of their number.
    """
    whole = whole_window(look)
    if len(after) >= whole or not before:
        return len(after) >= whole
    usual = float(np.median(before))
    if len(after) < _LEAST or usual <= 0.0 or after[-1] < NOTABLE_RATIO * usual:
        return False
    return len(after) * math.log(float(np.median(after)) / usual) >= whole * math.log(NOTABLE_RATIO)
