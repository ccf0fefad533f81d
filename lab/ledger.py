"""What the stages have said so far: recommendations and outcomes, those of the healthy phase apart, and signals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.advise.frames import Frame, read
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pipeline.advise.frames import Written

Trail = list[tuple[int, float]]
"""A signal's values, each with the end of its frame (ms)."""

_OPEN = ("proposed", "acknowledged", "applied")


class Seen(NamedTuple):
    """It all at one moment; `standing` first choices are open."""

    first: dict[str, Any] | None
    recommendations: list[dict[str, Any]]
    early: list[str]
    """What was advised in the healthy phase, in words."""
    standing: int
    outcomes: list[dict[str, Any]]

    def outcome(self, recommendation: str) -> dict[str, Any] | None:
        """What came of a recommendation, once that is known."""
        return next((one for one in self.outcomes if one.get("recommendation") == recommendation), None)


class Ledger:
    """`recommendations` are the newest record of each by id, in the order in which they appeared."""

    def __init__(self) -> None:
        self.recommendations: dict[str, dict[str, Any]] = {}
        self.outcomes: list[dict[str, Any]] = []
        self.early: frozenset[str] = frozenset()
        self._trails: dict[tuple[str, str], Trail] = {}

    def keep(self, topic: Topic, record: dict[str, Any]) -> None:
        """Take a record of an output topic."""
        if topic is Topic.RECOMMENDATIONS:
            self.recommendations[record["id"]] = record
        elif topic is Topic.OUTCOMES:
            self.outcomes.append(record)

    def note(self, record: Written) -> None:
        """Take a record of `duri.frames`."""
        frame = read(record)
        if isinstance(frame, Frame):
            for name, signal in frame.signals.items():
                if signal.value is not None:
                    self._trails.setdefault((frame.service, name), []).append((frame.ends, signal.value))

    def trail(self, service: str, signal: str) -> Trail:
        """The values that a service's signal has had."""
        return list(self._trails.get((service, signal), ()))

    def end_healthy(self) -> None:
        """What was recommended so far were false alarms."""
        self.early = frozenset(self.recommendations)

    def first(self, service: str = "") -> dict[str, Any] | None:
        """The first choice, once there is one: the first recommendation of rank 1 since the healthy phase.

        With a service the first that is for it, by itself or among those that share what would be changed.
        """
        found = (one for one in self.since_healthy() if one["rank"] == 1)
        return next((one for one in found if not service or service in _whose(one)), None)

    def since_healthy(self) -> list[dict[str, Any]]:
        """Recommendations that came after the healthy phase; those of the phase itself are false alarms."""
        return [one for key, one in self.recommendations.items() if key not in self.early]

    def outcome(self, recommendation: str) -> dict[str, Any] | None:
        """What came of a recommendation, once that is known."""
        return self.seen().outcome(recommendation)

    def standing(self) -> int:
        """First choices that are open at the moment, whatever became of earlier ones."""
        return sum(one["rank"] == 1 and one["state"] in _OPEN for one in self.recommendations.values())

    def seen(self) -> Seen:
        """All of it, as it is now."""
        early = [_in_words(self.recommendations[key]) for key in sorted(self.early)]
        return Seen(self.first(), self.since_healthy(), early, self.standing(), list(self.outcomes))


def _whose(recommendation: dict[str, Any]) -> list[str]:
    target = recommendation["target"]
    return [target["service"], *target["shared_by"]]


def _in_words(recommendation: dict[str, Any]) -> str:
    finding, service = recommendation["why"]["findings"][0], recommendation["target"]["service"]
    return f"{finding} of {service}: {recommendation['why']['reason']}"


def names(recommendation: dict[str, Any]) -> tuple[str, str]:
    """The finding and the knob of a recommendation."""
    return recommendation["why"]["findings"][0], recommendation["kind"]
