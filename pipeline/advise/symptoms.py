"""Which anomalies count, and which of them users feel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.records import Direction, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.advise.frames import OpenAnomaly

_LATENCY: Final = frozenset({"http.latency.mean", "http.latency.p50", "http.latency.p95", "http.latency.p99"})
_FELT: Final = {**dict.fromkeys([*_LATENCY, "http.error_ratio"], Direction.UP), "http.availability": Direction.DOWN}
FELT: Final = frozenset(_FELT)
"""Signals of what users feel."""


def qualifying(anomalies: Iterable[OpenAnomaly]) -> list[OpenAnomaly]:
    """Those that make an incident. Info alone never does: it is what is learned of a raw series; nor what is quiet."""
    return [anomaly for anomaly in anomalies if anomaly.severity is not Severity.INFO and not anomaly.quiet]


def worth_knowing(anomalies: Iterable[OpenAnomaly]) -> list[OpenAnomaly]:
    """Those that an incident names beside its own: what makes none by itself, and that no ranker has called noise."""
    return [anomaly for anomaly in anomalies if anomaly.severity is Severity.INFO and not anomaly.quiet]


def symptoms(anomalies: Iterable[OpenAnomaly]) -> tuple[bool, bool]:
    """Whether requests are slower, and whether more of them fail, than they should."""
    slow = failing = False
    for anomaly in complaints(anomalies):
        slow |= anomaly.signal in _LATENCY
        failing |= anomaly.signal not in _LATENCY
    return slow, failing


def complaints(anomalies: Iterable[OpenAnomaly]) -> list[OpenAnomaly]:
    """Those that users feel: requests that take longer, or fail more."""
    return [anomaly for anomaly in qualifying(anomalies) if _FELT.get(anomaly.signal) is anomaly.direction]
