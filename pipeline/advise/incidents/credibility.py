"""Failures that chance alone brings: of few calls, one that fails is a large share and says nothing.

Anomalies of the error ratio and the availability are kept only where the failures since they opened are more than a
binomial draw of the usual share gives (ADVICE-NOTES: counts, not a z). Where nobody counts requests they are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.advise.frames import milliseconds
from pipeline.advise.incidents.cause import credible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.frames import Frame, OpenAnomaly
    from pipeline.advise.history import History

_FAILURES: Final = frozenset({"http.error_ratio", "http.availability"})
_MAX_INTERVALS: Final = 15
_SIGNALS: Final = ("http.error_ratio", "http.rps")


class Credibility:
    """Looks at the anomalies of one interval."""

    def __init__(self, history: History, baseline: Mapping[str, float]) -> None:
        self.doubted = 0
        self._history = history
        self._usual = baseline.get("http.error_ratio", 0.0)

    def sift(self, frames: Mapping[str, Frame], end_ms: int) -> None:
        """Take out of the frames what chance alone may have brought; the history has learned them already."""
        for frame in frames.values():
            if frame.anomalies and any(anomaly.signal in _FAILURES for anomaly in frame.anomalies):
                kept = [
                    each for each in frame.anomalies if each.signal not in _FAILURES or self._real(frame, each, end_ms)
                ]
                self.doubted += len(frame.anomalies) - len(kept)
                frame.anomalies = kept

    def _real(self, frame: Frame, anomaly: OpenAnomaly, end_ms: int) -> bool:
        opened = milliseconds(anomaly.opened_at)
        values, ends = self._history.values(frame.service, _SIGNALS)
        since = max(opened, end_ms - _MAX_INTERVALS * self._history.frame_ms)
        failing, rates = values[ends >= min(since, end_ms)].T
        known = ~np.isnan(failing) & ~np.isnan(rates)
        if not known.any():
            return True
        requests = rates[known] * self._history.frame_ms / 1000.0
        before = values[ends < opened, 0]
        before = before[~np.isnan(before)]
        share = float(before.mean()) if len(before) else self._usual
        return credible(float(failing[known] @ requests), float(requests.sum()), share)
