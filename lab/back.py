"""Whether what a fault has moved is back where it was: what users see, or the signal by which advice is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lab.proof import Proof
    from pipeline.signals.definitions import Signal

_WITHIN = 0.2
"""So much from what it was when all was well, and it is back."""


class Measured(NamedTuple):
    """A figure of a run in the healthy phase, under the fault, after the advice and after its undo."""

    name: str
    before: float
    during: float | None
    after: float | None
    undone: float | None
    worse: str = "up"
    floor: float = 0.0

    def off(self, level: float | None) -> bool:
        """Whether it is worse than in the healthy phase by more than a fifth, and by more than matters to people."""
        if level is None:
            return True
        apart = level - self.before
        harm = abs(apart) if self.worse == "both" else apart if self.worse == "up" else -apart
        return harm > max(_WITHIN * abs(self.before), self.floor)

    @property
    def back(self) -> bool:
        """Whether it is where it was, after the advice."""
        return not self.off(self.after)


def measured(proof: Proof, signals: Mapping[str, Signal]) -> Measured | None:
    """What shows whether the advice helped: p95 where the fault moved it, else the signal; None where nothing does."""
    users = _of_users(proof)
    if users is not None and users.off(users.during):
        return users
    return _of_target(proof, signals) or users


def _of_users(proof: Proof) -> Measured | None:
    if not proof.p95_before:
        return None
    return Measured("p95", proof.p95_before, proof.p95_during, proof.p95_after, proof.p95_undone)


def _of_target(proof: Proof, signals: Mapping[str, Signal]) -> Measured | None:
    levels, signal = proof.levels, signals.get(proof.target or "")
    before = levels.get("before")
    if proof.target is None or signal is None or before is None:
        return None
    floor = max(signal.floor, signal.floor_share * abs(before))
    during, after, undone = (levels.get(name) for name in ("during", "after", "undone"))
    return Measured(proof.target, before, during, after, undone, signal.worse, floor)
