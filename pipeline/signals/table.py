"""The signals of every service, at the end of each frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.signals.aliases import Aliases
from pipeline.signals.members import Members

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.series import Series
    from pipeline.signals.definitions import Definitions, Signal, Term


class FrameValues(NamedTuple):
    """Values of one closed frame; rows are service rows, columns in the order of the definitions.

    signals float64[services, signals], settings float64[services, settings]; NaN without data. `reported`
    bool[services, signals] says whether any series behind a signal had a sample: a quantile of no requests is no
    value, yet its series are there.
    """

    signals: npt.NDArray[np.float64]
    settings: npt.NDArray[np.float64]
    reported: npt.NDArray[np.bool_]


class SignalTable:
    """Derives signals and settings gauges from the series of a store."""

    def __init__(self, definitions: Definitions) -> None:
        self.signals = list(definitions.signals)
        self.settings = list(definitions.settings)
        self.aliases = Aliases(definitions.aliases)
        self._members: dict[str, Members] = {}
        self._by_name: dict[str, list[Members]] = {}
        self._plan = [(signal, [self._of(term) for term in signal.terms()]) for signal in definitions.signals.values()]
        self._settings_plan = [self._of(term) for term in definitions.settings.values()]

    def _of(self, term: Term) -> Members:
        key = term.model_dump_json()
        if key not in self._members:
            members = self._members[key] = Members(term)
            for name in dict.fromkeys(term.of):
                self._by_name.setdefault(name, []).append(members)
        return self._members[key]

    def add(self, slot: int, series: Series, service: int) -> bool:
        """Let a new series take part, under whatever name signals know it; whether any signal or setting uses it."""
        used = False
        for reading in self.aliases.readings(series):
            for members in self._by_name.get(reading.series.name, ()):
                if members.term.selects(reading.series):
                    members.add(slot, service, _upper_bound(reading.series), reading)
                    used = True
        return used

    def remove(self, slots: npt.NDArray[np.int32]) -> None:
        """These series are gone."""
        gone = set(slots.tolist())
        for members in self._members.values():
            members.remove(gone)

    def compact(self, keep: npt.NDArray[np.int32]) -> None:
        """The series in slot `keep[i]` has slot i now."""
        slots = {old: new for new, old in enumerate(keep.tolist())}
        for members in self._members.values():
            members.renumber(slots)

    def evaluate(self, rows: npt.NDArray[Any], services: int) -> FrameValues:
        """Signals and settings of the frame that the store's `rows` have collected, for `services` service rows."""
        values = _Values(rows, services)
        signals = np.full((services, len(self.signals)), np.nan)
        reported = np.zeros(signals.shape, dtype=bool)
        for column, (signal, members) in enumerate(self._plan):
            # Most installations lack the series of most signals.
            if any(map(len, members)):
                signals[:, column] = _signal(signal, members, values)
                reported[:, column] = members[0].reported(rows, services)
        settings = np.full((services, len(self.settings)), np.nan)
        for column, member in enumerate(self._settings_plan):
            if len(member):
                settings[:, column] = values.of(member)
        return FrameValues(signals, settings, reported | ~np.isnan(signals))


class _Values:
    """Terms of one frame, each reduced once however many signals read it."""

    def __init__(self, rows: npt.NDArray[Any], services: int) -> None:
        self.rows = rows
        self.services = services
        self._known: dict[int, npt.NDArray[np.float64]] = {}

    def of(self, members: Members) -> npt.NDArray[np.float64]:
        known = self._known.get(id(members))
        if known is None:
            known = self._known[id(members)] = members.per_service(self.rows, self.services)
        return known


def _signal(signal: Signal, members: Sequence[Members], values: _Values) -> npt.NDArray[np.float64]:
    if signal.quantile is not None:
        return members[0].quantiles(values.rows, values.services, signal.quantile.q)
    if signal.value is not None:
        return _defaulted(values.of(members[0]), signal.value)
    above, below = members
    numerator, denominator = values.of(above), values.of(below)
    # A default stands in for one half of a ratio, never for both: a service that has neither has no such signal.
    nothing = np.isnan(numerator) & np.isnan(denominator)
    numerator, denominator = _defaulted(numerator, above.term), _defaulted(denominator, below.term)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(denominator > 0, numerator / denominator, np.nan)
    ratio[nothing] = np.nan
    return 1.0 - ratio if signal.complement else ratio


def _defaulted(values: npt.NDArray[np.float64], term: Term) -> npt.NDArray[np.float64]:
    return values if term.default is None else np.where(np.isnan(values), term.default, values)


def _upper_bound(series: Series) -> float:
    if not series.kind.is_bucket:
        return math.nan
    try:
        return float(series.labels.get("le", "nan").replace("+Inf", "inf"))
    except ValueError:
        return math.nan
