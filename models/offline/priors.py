"""Population priors: what is usual for a kind of signal, learned from the bank's state of series that it knows well.

The online learners run over the history of each series, as live; what they then know of it is one vector of
statistics (`models.online.warmth.STATISTICS`), and the prior of a signal is what an estimator makes of the vectors of
all series of that signal: their medians, as shipped. Sizes are in units of a series' level where that makes the series
more alike (where the logarithms of their spreads vary less), else as they are. The shape of the day is believed where
series share one: by the share of them that have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.online import warmth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.contracts import Float64s

VERSION: Final = 2
"""Of the statistics' meaning; priors of another version are not used."""
FEWEST: Final = 3
"""Series of a signal that make a population."""
_SUFFIX: Final = ":prior"
_SPREAD: Final = warmth.STATISTICS.index("spread")
_SEASONAL: Final = warmth.STATISTICS.index("seasonal")
_SHARED: Final = 0.5
"""A series shares the shape of the day where it is off by less than this part of the shape's own size."""


class Population(NamedTuple):
    """The series of one signal: usual levels float64[n], statistics float64[n, STATISTICS] in their own units."""

    level: Float64s
    statistics: Float64s


def names_of(signals: tuple[str, ...]) -> tuple[str, ...]:
    """Names of what priors over these signals speak of, as a manifest has them."""
    return tuple(f"{signal}{_SUFFIX}" for signal in signals)


def signals_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The signals of these names; `names_of` gives the names back."""
    return tuple(name.removesuffix(_SUFFIX) for name in names)


def alike(population: Population) -> Float64s:
    """The statistics float64[n, STATISTICS], in units of the level where series are more alike so.

    Those of series whose day has another shape than most do not say that it is believed.
    """
    found = population.statistics.copy()
    spread, level = found[:, _SPREAD], np.abs(population.level)
    if (spread > 0).all() and (level > 0).all() and _varies(np.log(spread / level)) < _varies(np.log(spread)):
        found = warmth.in_units(found, population.level)
    shapes = found[:, warmth.DAY]
    away = np.abs(shapes - np.median(shapes, axis=0)).mean(axis=1)
    found[:, _SEASONAL] *= away < _SHARED * np.abs(shapes).mean(axis=1)
    return found


def _varies(logarithms: Float64s) -> float:
    """Mean absolute distance from the median."""
    return float(np.abs(logarithms - np.median(logarithms)).mean())


def table(estimators: Mapping[str, Any], signals: tuple[str, ...]) -> Float64s:
    """The priors of these signals, float64[signals, STATISTICS], from fitted estimators by signal; NaN without one."""
    found = np.full((len(signals), len(warmth.STATISTICS)), np.nan)
    for row, signal in enumerate(signals):
        if signal in estimators:
            found[row] = np.asarray(estimators[signal].predict(np.zeros((1, 1))), dtype=np.float64).reshape(-1)
    return found
