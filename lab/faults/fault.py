"""What a fault is: the truth about it, how it is injected, and how it is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from lab.system import Lab


class Fault:
    """One thing that goes wrong. `finding` and `kind` are the catalogue's names of the right advice."""

    name: ClassVar[str]
    finding: ClassVar[str]
    kind: ClassVar[str]
    service: ClassVar[str] = "duri_core"
    needs_limits: ClassVar[bool] = False
    deploy: ClassVar[bool] = False
    """A deploy is announced on `duri.control` as it is injected."""

    load: ClassVar[float] = 1.0
    """How many times as many users there are while it lasts."""

    maintenance: ClassVar[bool] = False
    """A maintenance window is announced as it is injected."""

    slow: ClassVar[float] = 1.0
    """How many times as long it lasts until there is advice: what creeps shows late, a swing swings more than once."""

    by_hand: ClassVar[bool] = False
    """What the advice's commands do is not all of it: the rest is a person's, and the lab does it by `undo`."""

    def load_at(self, seconds: float) -> float:
        """The load so many seconds (of the lab's clock) after the injection."""
        del seconds
        return self.load

    async def prepare(self, lab: Lab) -> None:
        """Make it what the fault needs to be one, before anything is measured: a workload, replicas."""

    async def go_on(self, lab: Lab) -> None:
        """Go on breaking it, once each scrape while it lasts."""

    @property
    def control(self) -> bool:
        """True where nothing is wrong, so that nothing is to be said."""
        return not self.finding

    async def inject(self, lab: Lab) -> None:
        """Break it."""
        raise NotImplementedError

    async def undo(self, lab: Lab) -> None:
        """Mend it, whatever was applied meanwhile."""
        raise NotImplementedError
