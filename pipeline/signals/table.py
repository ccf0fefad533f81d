"""The signals of every service, at the end of each frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.series import Kind
from pipeline.signals.members import Members

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self._definitions = definitions
        self._members: dict[str, Members] = {}
        self._by_name: dict[str, list[Members]] = {}
        for term in _all_terms(definitions):
            self._add_term(term)

    def _add_term(self, term: Term) -> None:
        key = term.model_dump_json()
        if key in self._members:
            return
        members = self._members[key] = Members(term)
        for name in dict.fromkeys(term.of):
            self._by_name.setdefault(name, []).append(members)

    def _of(self, term: Term) -> Members:
        return self._members[term.model_dump_json()]

    def add(self, slot: int, series: Series, service: int) -> bool:
        """Let a new series take part; whether any signal or setting uses it."""
        used = False
        for members in self._by_name.get(series.name, ()):
            if members.term.selects(series):
                members.add(slot, service, _upper_bound(series))
                used = True
        return used

    def remove(self, slots: npt.NDArray[np.int32]) -> None:
        """These series are gone."""
        gone = set(slots.tolist())
        for members in self._members.values():
            members.remove(gone)

    def evaluate(self, rows: npt.NDArray[Any], services: int) -> FrameValues:
        """Signals and settings of the frame that the store's `rows` have collected, for `services` service rows."""
        signals = np.full((services, len(self.signals)), np.nan)
        for column, name in enumerate(self.signals):
            signals[:, column] = self._signal(self._definitions.signals[name], rows, services)
        settings = np.full((services, len(self.settings)), np.nan)
        for column, name in enumerate(self.settings):
            settings[:, column] = self._of(self._definitions.settings[name]).per_service(rows, services)
        reported = np.zeros(signals.shape, dtype=bool)
        for column, name in enumerate(self.signals):
            first = self._definitions.signals[name].terms()[0]
            reported[:, column] = self._of(first).reported(rows, services)
        return FrameValues(signals, settings, reported | ~np.isnan(signals))

    def _signal(self, signal: Signal, rows: npt.NDArray[Any], services: int) -> npt.NDArray[np.float64]:
        if signal.quantile is not None:
            return self._of(signal.quantile.buckets()).quantiles(rows, services, signal.quantile.q)
        if signal.value is not None:
            return _defaulted(self._of(signal.value).per_service(rows, services), signal.value)
        above, below = signal.terms()
        numerator = self._of(above).per_service(rows, services)
        denominator = self._of(below).per_service(rows, services)
        # A default stands in for one half of a ratio, never for both: a service that has neither has no such signal.
        nothing = np.isnan(numerator) & np.isnan(denominator)
        numerator, denominator = _defaulted(numerator, above), _defaulted(denominator, below)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(denominator > 0, numerator / denominator, np.nan)
        ratio[nothing] = np.nan
        return 1.0 - ratio if signal.complement else ratio


def _defaulted(values: npt.NDArray[np.float64], term: Term) -> npt.NDArray[np.float64]:
    return values if term.default is None else np.where(np.isnan(values), term.default, values)


def _all_terms(definitions: Definitions) -> Iterator[Term]:
    for signal in definitions.signals.values():
        yield from signal.terms()
    yield from definitions.settings.values()


def _upper_bound(series: Series) -> float:
    if series.kind is not Kind.BUCKET:
        return math.nan
    try:
        return float(series.labels.get("le", "nan").replace("+Inf", "inf"))
    except ValueError:
        return math.nan
