"""What a live view shows, apart from how: the newest anomalies and recommendations, and how far the flow has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pipeline.records import Anomaly, AnomalyState, Recommendation

if TYPE_CHECKING:
    from datetime import datetime

    from pipeline.records import Record

_KEPT = 200
Kept = TypeVar("Kept", Anomaly, Recommendation)


@dataclass(slots=True)
class Board:
    """The state of a view; `show` takes each record as it arrives. Keeps the newest 200 of each sort."""

    total: int = 0
    """Samples to come in all; 0 where nobody knows."""
    done: int = 0
    rate: float = 0.0
    """Samples a second."""
    moment: datetime | None = None
    """Event time that the flow has reached."""
    through: datetime | None = None
    """Event time up to which all stages are through, so that nothing older is to come; None where nobody knows."""
    status: str = ""
    anomalies: dict[str, Anomaly] = field(default_factory=dict)
    recommendations: dict[str, Recommendation] = field(default_factory=dict)
    found: int = 0
    """Anomalies seen in all, also those no longer kept."""
    advised: int = 0
    """Recommendations seen in all."""

    def show(self, record: Record) -> None:
        """Take one record from an output topic; those of other kinds are not shown."""
        if isinstance(record, Anomaly):
            self.found += record.id not in self.anomalies
            _put(self.anomalies, record.id, record)
        elif isinstance(record, Recommendation):
            self.advised += record.id not in self.recommendations
            _put(self.recommendations, record.id, record)

    @property
    def open_anomalies(self) -> int:
        """How many of the anomalies kept are open."""
        return sum(one.state is not AnomalyState.CLOSED for one in self.anomalies.values())

    def newest_anomalies(self, n: int) -> list[Anomaly]:
        """The n that opened last, newest first."""
        return sorted(self.anomalies.values(), key=lambda one: one.opened_at, reverse=True)[:n]

    def newest_recommendations(self, n: int) -> list[Recommendation]:
        """The n created last, newest first; within an incident the first choice first."""
        return sorted(self.recommendations.values(), key=lambda one: (one.created, -one.rank), reverse=True)[:n]


def _put(kept: dict[str, Kept], identity: str, record: Kept) -> None:
    kept[identity] = record
    if len(kept) > _KEPT:
        del kept[next(iter(kept))]
