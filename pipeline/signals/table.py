"""The signals of every service, at the end of each frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.signals.aliases import Aliases
from pipeline.signals.calls import CallRates
from pipeline.signals.members import Members
from pipeline.signals.plan import Derivation, Plan

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pipeline.series import Series
    from pipeline.signals.definitions import Definitions, Term
    from pipeline.signals.plan import FrameValues


class SignalTable:
    """Derives signals and settings gauges from the series of a store."""

    def __init__(self, definitions: Definitions) -> None:
        self.signals = list(definitions.signals)
        self.settings = list(definitions.settings)
        self.aliases = Aliases(definitions.aliases)
        self.calls = CallRates(definitions.calls)
        self._members: dict[str, Members] = {}
        self._by_name: dict[str, list[Members]] = {}
        self._derivations = [
            Derivation(signal, [self._of(term) for term in signal.terms()]) for signal in definitions.signals.values()
        ]
        self._settings_terms = [self._of(term) for term in definitions.settings.values()]
        self._plan: Plan | None = None

    def _of(self, term: Term) -> Members:
        key = term.model_dump_json()
        if key not in self._members:
            members = self._members[key] = Members(term)
            for name in dict.fromkeys(term.of):
                self._by_name.setdefault(name, []).append(members)
        return self._members[key]

    def add(self, slot: int, series: Series, service: int) -> bool:
        """Let a new series take part, under whatever name signals know it; whether any signal or setting uses it."""
        used = self.calls.add(slot, series, service)
        for reading in self.aliases.readings(series):
            for members in self._by_name.get(reading.series.name, ()):
                if members.term.selects(reading.series):
                    members.add(slot, service, _upper_bound(reading.series), reading)
                    self._plan = None
                    used = True
        return used

    def remove(self, slots: npt.NDArray[np.int32]) -> None:
        """These series are gone."""
        gone = set(slots.tolist())
        self._plan = None
        self.calls.remove(gone)
        for members in self._members.values():
            members.remove(gone)

    def compact(self, keep: npt.NDArray[np.int32]) -> None:
        """The series in slot `keep[i]` has slot i now."""
        self._plan = None
        slots = {old: new for new, old in enumerate(keep.tolist())}
        self.calls.renumber(slots)
        for members in self._members.values():
            members.renumber(slots)

    def evaluate(self, rows: npt.NDArray[Any], services: int) -> FrameValues:
        """Signals and settings of the frame that the store's `rows` have collected, for `services` service rows."""
        if self._plan is None:
            self._plan = Plan(self._derivations, self._settings_terms)
        return self._plan.evaluate(rows, services)


def _upper_bound(series: Series) -> float:
    if not series.kind.is_bucket:
        return math.nan
    try:
        return float(series.labels.get("le", "nan").replace("+Inf", "inf"))
    except ValueError:
        return math.nan
