"""What a version did in the shadow, all partitions together: for people, and for the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.registry.gate import (
    SHADOW,
    SHADOW_ALARMS,
    SHADOW_DAYS,
    SHADOW_LIVE_LONE,
    SHADOW_LONE,
    SHADOW_OTHERS_ALARMS,
    SHADOW_UNSCORED,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.records import ShadowTally


def agreement(both: int, only_shadow: int, only_live: int) -> float | None:
    """Share of alarms that two versions have in common (Jaccard); None where neither has any."""
    either = both + only_shadow + only_live
    return both / either if either else None


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """Of one version; its tallies are the newest of each partition, at least one."""

    tallies: Sequence[ShadowTally]

    @property
    def hours(self) -> float:
        """Event time in which it scored: of the partition that had services longest."""
        return max(one.hours for one in self.tallies)

    @property
    def service_days(self) -> float:
        """How much it has scored."""
        return sum(one.service_days for one in self.tallies)

    @property
    def agreement(self) -> float | None:
        """Of all alarms of either version, the share that both raised; None where neither raised any."""
        return agreement(self.count("both"), self.count("only_shadow"), self.count("only_live"))

    @property
    def correlation(self) -> float | None:
        """Of both scores, weighted by how much was scored; None without a live version."""
        rated = [(one.correlation, one.service_days) for one in self.tallies if one.correlation is not None]
        weight = sum(days for _, days in rated)
        return sum(value * days for value, days in rated) / weight if weight else None

    def count(self, name: str) -> int:
        """One of the tally's counts, all partitions together."""
        return sum(getattr(one, name) for one in self.tallies)

    def lone_a_day(self, who: str) -> float:
        """Alarms per service and day that no other detector shared, of `shadow` or `live`."""
        return self.count(f"{who}_lone") / max(self.service_days, 1e-9)

    @property
    def unscored(self) -> float:
        """Of services' frames since it began to score, the share that the live version scored alone."""
        scored = sum(self.count(name) for name in ("both", "only_shadow", "only_live", "neither"))
        return self.count("unscored") / max(scored + self.count("unscored"), 1)

    def metrics(self) -> dict[str, float]:
        """What the gate wants to know."""
        found = {
            SHADOW: self.hours,
            SHADOW_DAYS: self.service_days,
            SHADOW_LONE: self.count("shadow_lone"),
            SHADOW_UNSCORED: self.unscored,
            SHADOW_ALARMS: self.count("shadow_episodes"),
            SHADOW_OTHERS_ALARMS: self.count("other_episodes"),
        }
        if any(one.live for one in self.tallies):
            found[SHADOW_LIVE_LONE] = self.count("live_lone")
        return found
