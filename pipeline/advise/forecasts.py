"""When something runs out: memory, disk, connections, the error budget; early enough to do something.

1. Each signal that `forecasts` of the catalogue names: where its last hour is a straight line (R² ≥ 0.8) that rises to
   the limit within the horizon, that counts as an anomaly of the service, found by the detector `forecast`.
2. Error budgets: what requests and failures of the last `BUDGET_S` (fading) leave of it, at the last hour's pace.

Rules read the expected seconds as `until`; incidents and recommendations carry moment and interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from models.forecast import Forecast, budget_left, straight, time_to
from pipeline.advise.frames import OpenAnomaly
from pipeline.advise.rules.facts import BUDGET
from pipeline.records import Direction, RunsOut, Severity, content_id, from_ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pipeline.advise.frames import Frame
    from pipeline.advise.history import History
    from pipeline.advise.rules.catalogue import Catalogue

BUDGET_S: Final = 30 * 86_400.0
_STRAIGHT: Final = 0.8
_LEAST_VALUES: Final = 20
_SURE: Final = 3.0
"""The latest moment is at most so many times as far as the expected one, or the line is too unsure to speak of."""
_SCORE: Final = 0.8
_ERRORS: Final = ("http.error_ratio", "http.rps")


class Budget(msgspec.Struct):
    """Requests and failures of a service with an objective; old ones fade."""

    requests: float = 0.0
    failures: float = 0.0


class Forecasts:
    """Looks ahead for every service, once an interval."""

    def __init__(self, history: History, catalogue: Catalogue) -> None:
        self.budgets: dict[str, Budget] = {}
        self._until: dict[str, dict[str, Forecast]] = {}
        self._history = history
        self._catalogue = catalogue
        self._allowed: dict[str, float] = {}
        """Share of requests that may fail, by service; 1 where nothing is promised."""

    def until(self, service: str) -> dict[str, Forecast]:
        """What runs out, by signal, as of the last interval."""
        return self._until.get(service, {})

    def records(self, service: str, now: int) -> list[RunsOut]:
        """The same, for people."""
        return [
            RunsOut(
                what=name,
                expected_at=_moment(now, forecast.expected_s),
                earliest_at=_moment(now, forecast.earliest_s),
                latest_at=_moment(now, forecast.latest_s),
            )
            for name, forecast in self.until(service).items()
        ]

    def follow(self, frames: Mapping[str, Frame], now: int) -> None:
        """Take the interval that ends now; what runs out within its horizon is added to the frames' anomalies."""
        self._until = {}
        for signal in self._catalogue.forecasts:
            self._look_ahead(signal, frames, now)
        for service, frame in frames.items():
            allowed = self._allowance(service)
            if allowed < 1.0:
                self._spend(frame, allowed)

    def _look_ahead(self, signal: str, frames: Mapping[str, Frame], now: int) -> None:
        entry = self._catalogue.forecasts[signal]
        values, seconds, services = self._history.matrix(signal)
        if len(seconds) < _LEAST_VALUES or not services:
            return
        level, slope, explained = straight(values, seconds)
        rising = (level >= entry.least) & (level + slope * entry.horizon_s >= entry.limit) & (explained >= _STRAIGHT)
        for row in np.flatnonzero(rising).tolist():
            frame = frames.get(services[row])
            column = values[:, row].astype(np.float64)
            if frame is None or np.count_nonzero(~np.isnan(column)) < _LEAST_VALUES:
                continue
            forecast = time_to(column, seconds, entry.limit)
            if forecast and forecast.expected_s <= entry.horizon_s and forecast.latest_s <= _SURE * forecast.expected_s:
                self._until.setdefault(services[row], {})[signal] = forecast
                _flag(frame, signal, now)

    def _allowance(self, service: str) -> float:
        known = self._allowed.get(service)
        if known is None:
            promised = [each.objective for each in self._catalogue.objectives.values() if each.concerns(service)]
            known = self._allowed[service] = 1.0 - max(promised, default=0.0)
        return known

    def _spend(self, frame: Frame, allowed: float) -> None:
        values, _ = self._history.values(frame.service, _ERRORS)
        known = values[~np.isnan(values).any(axis=1)]
        if not len(known):
            return
        seconds = self._history.frame_ms / 1000.0
        fade = max(0.0, 1.0 - seconds / BUDGET_S)
        budget = self.budgets.setdefault(frame.service, Budget())
        share, rate = known[-1].tolist()
        budget.requests = budget.requests * fade + rate * seconds
        budget.failures = budget.failures * fade + share * rate * seconds
        # A month's budget, though less than a month may be known: what is not known yet counts as as busy, and fine.
        month = max(budget.requests, float(np.median(known[:, 1])) * BUDGET_S)
        spent = budget.failures / (allowed * month) if month > 0 else 0.0
        requests = known[:, 1] * seconds
        forecast = budget_left(spent, float(known[:, 0] @ requests), float(requests.sum()), allowed, BUDGET_S)
        if forecast:
            self._until.setdefault(frame.service, {})[BUDGET] = forecast


def _flag(frame: Frame, signal: str, now: int) -> None:
    """Add it to the frame's anomalies, unless its signal is flagged already."""
    if any(each.signal == signal and each.severity is not Severity.INFO for each in frame.anomalies):
        return
    value = frame.signals.get(signal)
    anomaly = OpenAnomaly(
        id=content_id("forecast", frame.service, signal),
        signal=signal,
        severity=Severity.WARNING,
        direction=Direction.UP,
        score=_SCORE,
        detectors=["forecast"],
        opened_at=from_ms(now),
        observed=None if value is None else value.value,
        expected=None,
    )
    frame.anomalies = [*frame.anomalies, anomaly]


def _moment(now: int, seconds: float) -> datetime:
    return from_ms(now + round(min(seconds, 10 * BUDGET_S) * 1000))
