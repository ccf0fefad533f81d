"""Which service of an incident is the cause: ranking by unexplained harm along the call graph.

Over the incident's window, for each service n against its own usual state b (ADVICE-NOTES):

1. excess per request  Δₙ = max(0, latency - b) in seconds, or max(0, b - availability) as a share
2. added harm          Eₙ = Δₙ · requestsₙ
3. unexplained harm    Uₙ = max(0, Eₙ - Σ E over what n calls)

Excess below the floors of the notes (10 % of the usual, 2 ms, half a percentage point) is noise and counts nothing.
A caller's delay that its callees account for is not its own. Latency is the p95, else the p99, else the median:
a fault that touches one request in ten does not show in the median.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.advise.topology import Topology

_LATENCY: Final = ("http.latency.p95", "http.latency.p99", "http.latency.p50")
_FLOOR_SHARE: Final = 0.1
_FLOOR_S: Final = 0.002
_FLOOR_RATIO: Final = 0.005
_TIE: Final = 0.95
"""A service with this share of the most harm ties with it: the one further down the calls is preferred."""
_SURE: Final = 0.8
_UNSURE: Final = 0.4


class Harm(msgspec.Struct):
    """What a service's requests lost within an incident's window."""

    seconds: float = 0.0
    """Latency added, summed over requests."""
    failures: float = 0.0
    """Requests that failed beyond the usual."""

    def add(self, signals: Mapping[str, float], usual: Mapping[str, float], frame_s: float) -> None:
        """Count one frame. Without a request rate nothing is counted: harm is weighed by requests."""
        requests = signals.get("http.rps", 0.0) * frame_s
        for name in _LATENCY:
            if name in signals and name in usual:
                floor = max(_FLOOR_SHARE * usual[name], _FLOOR_S)
                self.seconds += _above(signals[name] - usual[name], floor) * requests
                break
        self.failures += _above(_availability(usual) - _availability(signals), _FLOOR_RATIO) * requests


class Cause(NamedTuple):
    """The service that most likely causes an incident, and its share of all unexplained harm."""

    service: str
    share: float

    @property
    def certainty(self) -> float:
        """Factor on confidence: 1 from a share of 0.8, which is right four times in five; 0.5 up to 0.4."""
        return 0.5 + 0.5 * min(1.0, max(0.0, (self.share - _UNSURE) / (_SURE - _UNSURE)))


def rank_causes(harms: Mapping[str, Harm], topology: Topology) -> list[Cause]:
    """Services by their share of unexplained harm, most first; those without any are left out.

    Seconds and failures cannot be added; each kind's shares are averaged over the kinds that occur.
    """
    kinds = [
        unexplained({service: harm.seconds for service, harm in harms.items()}, topology),
        unexplained({service: harm.failures for service, harm in harms.items()}, topology),
    ]
    present = [(kind, total) for kind in kinds if (total := sum(kind.values())) > 0.0]
    shares = {
        service: sum(kind[service] / total for kind, total in present) / len(present)
        for service in harms
        if present and any(kind[service] > 0.0 for kind, _ in present)
    }
    ranked = sorted(
        (Cause(service, share) for service, share in shares.items()), key=lambda cause: (-cause.share, cause)
    )
    return _prefer_callee(ranked, topology)


def unexplained(added: Mapping[str, float], topology: Topology) -> dict[str, float]:
    """Uₙ of each service from Eₙ of all."""
    return {
        service: max(0.0, harm - sum(added.get(callee, 0.0) for callee in topology.callees(service)))
        for service, harm in added.items()
    }


def _prefer_callee(ranked: list[Cause], topology: Topology) -> list[Cause]:
    """Put first, of those that tie for the first place, one that calls none of the others."""
    tied = [cause for cause in ranked if cause.share >= _TIE * ranked[0].share]
    names = {cause.service for cause in tied}
    for cause in tied:
        if names.isdisjoint(topology.callees(cause.service)):
            return [cause, *(other for other in ranked if other is not cause)]
    return ranked


def _above(excess: float, floor: float) -> float:
    return excess if excess > floor else 0.0


def _availability(values: Mapping[str, float]) -> float:
    return values.get("http.availability", 1.0 - values.get("http.error_ratio", 0.0))
