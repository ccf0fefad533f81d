"""The layout by which signals are reckoned: all terms' series in one array, and what becomes of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline.signals import reduction
from pipeline.signals.members import MEMBER
from pipeline.signals.reduction import FORMULA, OVERS, QUANTILE, TAKES, TERM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from pipeline.signals.definitions import Signal, Term
    from pipeline.signals.members import Members


class Derivation(NamedTuple):
    """A signal and the terms that it reads."""

    signal: Signal
    terms: Sequence[Members]


class FrameValues(NamedTuple):
    """Values of one closed frame; rows are service rows, columns in the order of the definitions.

    signals float64[services, signals], settings float64[services, settings]; NaN without data. `reported`
    bool[services, signals] says whether any series behind a signal had a sample: a quantile of no requests is no
    value, yet its series are there.
    """

    signals: npt.NDArray[np.float64]
    settings: npt.NDArray[np.float64]
    reported: npt.NDArray[np.bool_]


class Plan:
    """Signals and settings of the series that are known now. Those that no series belongs to cost nothing."""

    def __init__(self, signals: Sequence[Derivation], settings: Sequence[Members]) -> None:
        self._shape = len(signals), len(settings)
        used = [(column, each) for column, each in enumerate(signals) if any(map(len, each.terms))]
        read = [members for _, each in used for members in each.terms] + [each for each in settings if len(each)]
        by_identity = {id(members): members for members in read}
        number = {identity: place for place, identity in enumerate(by_identity)}
        self._terms, self._members = _laid_out([*by_identity.values()])
        self._formulas = np.array(
            [_formula(column, each, number) for column, each in used if each.signal.quantile is None], dtype=FORMULA
        )
        histograms = [(column, each, each.signal.quantile.q) for column, each in used if each.signal.quantile]
        self._quantiles = np.array(
            [(column, number[id(each.terms[0])], q) for column, each, q in histograms], dtype=QUANTILE
        )
        # Sums go over series in the order of slots, quantiles over buckets in that of services and bounds.
        self._buckets = self._members.copy()
        for term in np.unique(self._quantiles["term"]).tolist():
            part = self._buckets[self._terms[term]["start"] : self._terms[term]["stop"]]
            part[:] = part[np.lexsort((part["bound"], part["service"]))]
        self._columns = [column for column, _ in used]
        self._first = [number[id(each.terms[0])] for _, each in used]
        self._settings = [column for column, each in enumerate(settings) if len(each)]
        self._setting_terms = [number[id(each)] for each in settings if len(each)]

    def evaluate(self, rows: npt.NDArray[Any], services: int) -> FrameValues:
        """Values of the frame that the store's `rows` have collected, for `services` service rows."""
        values = np.full((len(self._terms), services), np.nan)
        seen = np.zeros(values.shape, dtype=bool)
        reduction.reduce_terms(rows, self._members, self._terms, values, seen)
        signals, settings = (np.full((services, columns), np.nan) for columns in self._shape)
        reduction.combine(self._formulas, values, signals)
        reduction.quantiles(rows, self._buckets, self._terms, self._quantiles, signals)
        settings[:, self._settings] = values[self._setting_terms].T
        reported = ~np.isnan(signals)
        reported[:, self._columns] |= seen[self._first].T
        return FrameValues(signals, settings, reported)


def _laid_out(terms: Sequence[Members]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.void]]:
    """Each term with its place, and all their series one term after the other."""
    arrays = [members.array() for members in terms]
    stops = np.cumsum([len(array) for array in arrays], dtype=np.int64).tolist()
    laid = [
        (stop - len(array), stop, TAKES.index(take.take), OVERS.index(take.over), bool(array["rank"].any()), take.scale)
        for stop, array, take in zip(stops, arrays, (members.term for members in terms), strict=True)
    ]
    return np.array(laid, dtype=TERM), np.concatenate([np.zeros(0, dtype=MEMBER), *arrays])


def _formula(column: int, derivation: Derivation, number: Mapping[int, int]) -> tuple[int | float | bool, ...]:
    signal, (first, *second) = derivation
    below = second[0] if second else None
    return (
        column,
        number[id(first)],
        -1 if below is None else number[id(below)],
        _default(first.term),
        math.nan if below is None else _default(below.term),
        signal.complement,
    )


def _default(term: Term) -> float:
    return math.nan if term.default is None else term.default
