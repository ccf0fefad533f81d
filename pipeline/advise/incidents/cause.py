"""Which service of an incident is the cause: ranking by unexplained harm along the call graph.

Over the incident's window, for each service n against its own usual state b (docs/advisor.md has the measurements):

1. excess per request  Δₙ = max(0, latency - b) in seconds; calls that failed beyond the usual are counted
2. added harm          Eₙ = Δₙ · requestsₙ + failuresₙ · 1 s
3. unexplained harm    Uₙ = max(0, Eₙ - Σ E over what n calls)

A failure counts as one second lost, the guide's critical latency, so that both kinds of harm add up: a caller that
gives up on a slow callee fails by no fault of its own, and is explained. Excess below the floors (10 % of the usual,
2 ms, half a percentage point) is noise, and so are failures that chance alone brings (binomial test). Latency is the
mean, because means of callees add up to their caller's; where nobody measures it a quantile stands in.

Services that tie for the first place are told apart by who was slowed down more in proportion to its own usual: the
same delay weighs less on a caller, whose own work it is added to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.comparison import binomial_tail
from pipeline.advise.history import MIN_POINTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from pipeline.advise.incidents.topology import Topology

    Float64s = npt.NDArray[np.float64]

FAILURE_S: Final = 1.0
"""Seconds that a failed request counts as."""
HARM_SIGNALS: Final = (
    "http.latency.mean",
    "http.latency.p95",
    "http.latency.p99",
    "http.latency.p50",
    "http.rps",
    "http.error_ratio",
)
"""Signals that tell how much a service suffers, in the order of `measure`'s columns."""
_LATENCIES: Final = range(4)
_RPS: Final = 4
_ERRORS: Final = 5
_FLOOR_SHARE: Final = 0.1
_FLOOR_S: Final = 0.002
_FLOOR_RATIO: Final = 0.005
_CREDIBLE_Z: Final = 2.0
"""Robust standard deviations of its own healthy state that a service must leave, or its excess is noise."""
_MAD_TO_SIGMA: Final = 1.4826
_BY_CHANCE: Final = 0.01
"""Failures at least as likely as this without any change count nothing."""
_LEAST_SHARE: Final = 1e-4
"""Share of requests that may fail in a healthy service; that none did in an hour does not make one a miracle."""
_TIE: Final = 0.95
"""A service with this share of the most unexplained harm ties with it."""
_TIE_UNSURE: Final = 0.5
"""Likewise where calls are missing from the graph: a caller and its callee may then count the same harm twice."""
_SURE: Final = 0.8
_UNSURE: Final = 0.4
_CLEAR_MARGIN: Final = 2.0
_CAP: Final = 0.6
"""The most that is believed of a cause when calls or request counts are missing."""


class Harm(NamedTuple):
    """What a service's requests lost within an incident's window."""

    seconds: float = 0.0
    """Latency added, summed over requests."""
    failures: float = 0.0
    """Requests that failed beyond the usual."""
    severity: float = 0.0
    """In proportion to the usual: multiples of the latency added, and the share of requests that fail."""
    guessed: bool = False
    """Whether the number of requests had to be taken from what is usual."""

    @property
    def lost(self) -> float:
        """Eₙ: seconds added, and a second for each failure."""
        return self.seconds + FAILURE_S * self.failures


def measure(window: Float64s, healthy: Float64s, usual: Mapping[str, float], frame_s: float) -> Harm:
    """Harm of one service over the intervals of a window; float64[intervals, HARM_SIGNALS], NaN where unknown.

    `healthy` holds the intervals before the incident, `usual` what to compare with where they are too few. Where no
    interval tells the requests, the usual ones stand in; where neither is known there is no harm to weigh.
    """
    rates, guessed = _rates(window, healthy, usual)
    requests = rates * frame_s
    total = float(requests.sum())
    if total <= 0.0:
        return Harm(guessed=guessed)
    added, multiples = _slower(window, healthy, usual, requests)
    failures = _failures(window, healthy, usual, requests)
    return Harm(added, failures, (multiples + failures) / total, guessed)


def _rates(window: Float64s, healthy: Float64s, usual: Mapping[str, float]) -> tuple[Float64s, bool]:
    rates = window[:, _RPS]
    missing = np.isnan(rates)
    stand_in = _reference(healthy, usual, _RPS) or 0.0
    present = ~np.isnan(window).all(axis=1)
    return np.where(missing, np.where(present, stand_in, 0.0), rates), bool((missing & present).any())


def _slower(window: Float64s, healthy: Float64s, usual: Mapping[str, float], requests: Float64s) -> tuple[float, float]:
    """Seconds added, and multiples of the usual added, summed over requests."""
    for column in _LATENCIES:
        before = _reference(healthy, usual, column)
        values = window[:, column]
        if before is None or np.isnan(values).all():
            continue
        floor = max(_FLOOR_SHARE * before, _FLOOR_S, _CREDIBLE_Z * _spread(healthy[:, column]))
        excess = np.where(values - before > floor, values - before, 0.0)
        added = float(excess @ requests)
        return added, added / max(before, _FLOOR_S)
    return 0.0, 0.0


def _failures(window: Float64s, healthy: Float64s, usual: Mapping[str, float], requests: Float64s) -> float:
    """Requests that failed beyond the usual; 0 where that is noise or chance."""
    before = _reference(healthy, usual, _ERRORS) or 0.0
    failed = float(np.nan_to_num(window[:, _ERRORS]) @ requests)
    total = float(requests.sum())
    excess = failed - before * total
    if excess <= _FLOOR_RATIO * total or not credible(failed, total, before):
        return 0.0
    return excess


def _reference(healthy: Float64s, usual: Mapping[str, float], column: int) -> float | None:
    """What is usual: the mean of failures, which are rare, and the median of everything else."""
    values = healthy[:, column]
    values = values[~np.isnan(values)]
    if len(values) < MIN_POINTS:
        return usual.get(HARM_SIGNALS[column])
    return float(values.mean() if column == _ERRORS else np.median(values))


def _spread(values: Float64s) -> float:
    """Robust standard deviation; 0 where there are too few values to tell."""
    values = values[~np.isnan(values)]
    if len(values) < MIN_POINTS:
        return 0.0
    return _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))


class Cause(NamedTuple):
    """A service that may cause an incident: its share of all unexplained harm, and how sure it is as first choice."""

    service: str
    share: float
    certainty: float
    """Factor on confidence, 0 to 1."""


def credible(failed: float, requests: float, share: float) -> bool:
    """Whether so many failures are more than chance brings where `share` of the requests fails as usual."""
    return binomial_tail(failed, requests, max(share, _LEAST_SHARE)) < _BY_CHANCE


def rank_causes(harms: Mapping[str, Harm], topology: Topology, *, complete: bool = True) -> list[Cause]:
    """Services by their share of unexplained harm, most first; those without any are left out.

    `complete`: whether the graph is known to have the calls between these services.
    """
    added = {service: harm.lost for service, harm in harms.items()}
    left = {service: harm for service, harm in unexplained(added, topology).items() if harm > 0.0}
    total = sum(left.values())
    ranked = sorted(left, key=lambda service: (-left[service], service))
    if not ranked:
        return []
    ranked = _settle_tie(ranked, left, harms, topology, complete=complete)
    capped = not complete or any(harms[service].guessed for service in ranked)
    others = [left[service] for service in ranked[1:]]
    sure = _certainty(left[ranked[0]] / total, left[ranked[0]] / max([*others, 1e-9]))
    certainty = min(sure, _CAP) if capped else sure
    return [Cause(service, left[service] / total, certainty) for service in ranked]


def unexplained(added: Mapping[str, float], topology: Topology) -> dict[str, float]:
    """Uₙ of each service from Eₙ of all."""
    return {
        service: max(0.0, harm - sum(added.get(callee, 0.0) for callee in topology.callees(service)))
        for service, harm in added.items()
    }


def _certainty(share: float, margin: float) -> float:
    """1 from a share of 0.8 on, 0.5 up to 0.4; less where the second is nearly as harmful (0.75 at a margin of 1)."""
    by_share = 0.5 + 0.5 * min(1.0, max(0.0, (share - _UNSURE) / (_SURE - _UNSURE)))
    by_margin = 0.75 + 0.25 * min(1.0, max(0.0, (margin - 1.0) / (_CLEAR_MARGIN - 1.0)))
    return by_share * by_margin


def _settle_tie(
    ranked: list[str], left: Mapping[str, float], harms: Mapping[str, Harm], topology: Topology, *, complete: bool
) -> list[str]:
    """Put first, of those that tie for the first place, the one that the others only forward to or wait for."""
    least = (_TIE if complete else _TIE_UNSURE) * left[ranked[0]]
    tied = [service for service in ranked if left[service] >= least]
    behind = [service for service in tied if not set(tied).intersection(topology.callees(service))]
    first = max(behind or tied, key=lambda service: (harms[service].severity, service))
    return [first, *(service for service in ranked if service != first)]
