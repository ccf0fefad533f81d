"""A generated DuRi system: four services, their metrics every 30 s for two days, and what goes wrong on the last day.

The data is made up, by the formulas of docs/demo-data.md, and says so: nothing here was measured. It exists so
that the demo, the tests and a curious person have a system whose faults are known to the second. The same plan
gives the same samples, always.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import SettingsError
from pipeline.records import ChangeEvent, content_id, from_ms
from pipeline.sources.columnar import Block
from pipeline.sources.duri_faults import DAY_S, Causes, Fault, default_faults
from pipeline.sources.duri_metrics import export
from pipeline.sources.duri_state import PROFILES, Profile, live
from pipeline.sources.lanes import by_lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

# A Monday at midnight: fixed, so that a seed means the same day, the same hours and the same ids everywhere.
DEFAULT_START = datetime(2025, 1, 6, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to generate. Raises SettingsError where it cannot be: see `__post_init__`."""

    start: datetime = DEFAULT_START
    """First scrape; a midnight, for the daily swing to have its peak at 14:00."""
    days: int = 2
    step_s: float = 30.0
    """Seconds between two scrapes."""
    seed: int = 1
    services: tuple[Profile, ...] = PROFILES
    faults: tuple[Fault, ...] | None = None
    """None: the four of `default_faults`; an empty tuple: a healthy system."""

    def __post_init__(self) -> None:
        if self.days < 1 or self.step_s <= 0:
            raise SettingsError(f"days {self.days} and step_s {self.step_s}: give at least one day and a positive step")
        names = {profile.name for profile in self.services}
        for fault in self.injected():
            if fault.service not in names:
                raise SettingsError(f"fault {fault.kind}: no service {fault.service!r}; choose of {sorted(names)}")

    @property
    def end(self) -> datetime:
        """When the last day ends."""
        return self.start + timedelta(days=self.days)

    @property
    def last_day(self) -> datetime:
        """When the last day begins, on which things go wrong unless the plan has faults of its own."""
        return self.end - timedelta(days=1)

    def injected(self) -> tuple[Fault, ...]:
        """The faults, in order of time."""
        faults = default_faults(self.days) if self.faults is None else self.faults
        return tuple(sorted(faults, key=lambda fault: fault.start_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One injected fault, as the summary and the tests need it."""

    service: str
    kind: str
    title: str
    start: datetime
    end: datetime
    expected: frozenset[str]
    """Kinds of recommendation that are right."""


@dataclass(slots=True)
class DuriSystem:
    """The whole system in memory: one block of two days a service (2 million samples, 16 MB)."""

    plan: Plan
    _whole: list[Block] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        clock = np.arange(self.scrapes, dtype=np.float64) * self.plan.step_s
        ts = (self.plan.start.timestamp() * 1000 + clock * 1000).astype(np.int64)
        for number, profile in enumerate(self.plan.services):
            rng = np.random.default_rng([self.plan.seed, number])
            self._whole.append(_service(profile, self.plan.injected(), clock, ts, rng))

    @property
    def scrapes(self) -> int:
        """How often each service is scraped."""
        return int(self.plan.days * DAY_S / self.plan.step_s)

    @property
    def samples(self) -> int:
        """How many samples there are in all."""
        return sum(block.samples for block in self._whole)

    @property
    def series(self) -> int:
        """How many series there are in all."""
        return sum(len(block.series) for block in self._whole)

    @property
    def services(self) -> list[Block]:
        """Each service's samples as one block."""
        return list(self._whole)

    def blocks(self, slice_s: float = 600.0, *, lanes: int = 1) -> Iterator[Block]:
        """The samples in order of time: for each slice of so many seconds, one block a lane (see `lanes.py`)."""
        rows = max(1, round(slice_s / self.plan.step_s))
        together = self._lanes(lanes)
        for begin in range(0, self.scrapes, rows):
            for lane in together:
                end = begin + rows
                yield Block(lane.key, lane.series, lane.ts[begin:end], lane.value[begin:end])

    def _lanes(self, lanes: int) -> list[Block]:
        """One block for each lane that has services, over all the time."""
        whole = {block.key: block for block in self._whole}
        result = []
        for lane, names in sorted(by_lane(whole, lanes).items()):
            parts = [whole[name] for name in names]
            series = [series for part in parts for series in part.series]
            result.append(Block(str(lane), series, parts[0].ts, np.hstack([part.value for part in parts])))
        return result

    def changes(self) -> list[ChangeEvent]:
        """What operators did, for `duri.control`, in order of time."""
        events = [self._change(fault, *change) for fault in self.plan.injected() for change in fault.changes()]
        return sorted(events, key=lambda event: event.at)

    def truth(self) -> list[Truth]:
        """What went wrong and when, in order of time."""
        return [
            Truth(
                service=fault.service,
                kind=fault.kind,
                title=fault.title,
                start=self._moment(fault.start_s),
                end=self._moment(fault.end_s),
                expected=fault.expected,
            )
            for fault in self.plan.injected()
        ]

    def _change(self, fault: Fault, after_s: float, version: str, before: str) -> ChangeEvent:
        at = self._moment(after_s)
        return ChangeEvent(
            id=content_id("change", fault.service, at.isoformat(), version),
            at=at,
            service=fault.service,
            version=version,
            previous_version=before,
            summary=f"{before} -> {version}",
            by="generated system",
        )

    def _moment(self, after_s: float) -> datetime:
        return from_ms(round(self.plan.start.timestamp() * 1000 + after_s * 1000))


def _service(
    profile: Profile,
    faults: tuple[Fault, ...],
    clock: npt.NDArray[np.float64],
    ts: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Block:
    causes = Causes.none(len(clock))
    for fault in faults:
        if fault.service == profile.name:
            fault.strain(clock, causes)
    state = live(profile, causes, clock, rng)
    exporter = export(profile, state, causes, clock, rng)
    return Block(profile.name, tuple(exporter.series), ts, np.stack(exporter.columns, axis=1))
