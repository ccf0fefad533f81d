"""Starting warm: a new series begins with what is usual for its population instead of with nothing.

What a population looks like is learned offline from the bank's own state of series that it knows well
(`models.offline.priors`), as one vector a kind of signal, `STATISTICS`: how far values lie apart, what a usual day
holds, and the shape of the day. A series begins as ever; after `OWN_SAMPLES` it has a level of its own, and the rest is
then a mean of what it has shown and what its population shows, as in empirical Bayes (Efron & Morris, J. Am.
Stat. Assoc. 70, 1975), the population counting as `PRIOR_SAMPLES`. It is judged from then on. What it does later
outweighs the prior as it would any past, so the prior needs no place in the state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.online import novelty, season

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.contracts import Float32s, Float64s, Int32s
    from models.online.tuning import Tuning

    Rows = npt.NDArray[np.void]

OWN_SAMPLES: Final = 10
"""Samples after which a series starts warm: enough for a level of its own."""
PRIOR_SAMPLES: Final = 30.0
"""What the population counts as beside them."""
USUAL_SAMPLES: Final = 240
"""What its usual level counts as beside the samples that follow: with less the slow level goes to where the first hours
lie, and a series that began in the trough of its day is off when it climbs out of it.
"""

_SPREADS: Final = ("spread", "slow_spread", "rest_spread", "season_spread", "season_most")
_ROUTINE: Final = (
    *("spike_usual", "spike_varies", "drift_usual", "drift_varies", "drifts", "apart_usual", "apart_varies"),
    *("usual", "usually_rough", "bustle", "moves", "longest", "trust"),
)
_RESTS: Final = ("rest_low", "rest_high")
STATISTICS: Final = (
    *("relative", "seasonal", "below", "above"),
    *_SPREADS,
    *_RESTS,
    *_ROUTINE,
    *(f"seen_{end}_{channel}" for end in ("from", "to") for channel in range(novelty.CHANNELS)),
    *(f"day_{bucket}" for bucket in range(season.DAY)),
)
"""relative: 1 where a series' sizes are parts of its level, else 0. seasonal: 1 where the day's shape is believed.

below, above: how far values go from the usual level. The spreads, as the bank has them, and these are in units of
the level where it is relative; so is the shape of the day, distances from the usual level by half an hour. seen: first
and last bin that occurred in each of novelty's channels.
"""
_AT: Final = {name: column for column, name in enumerate(STATISTICS)}
DAY: Final = slice(_AT["day_0"], _AT["day_0"] + season.DAY)
"""Columns of the shape of the day."""
_SEEN: Final = slice(_AT["seen_from_0"], _AT["seen_from_0"] + 2 * novelty.CHANNELS)
_DAY_S: Final = 86_400.0
_SEEN_UNITS: Final = 240
"""Units of time that what the population saw counts as; a multiple of both of novelty's rings, whose places stay."""
_TINY: Final = 1e-300


class Known(NamedTuple):
    """Series that the bank knows: rows, profiles, and what they have seen, one each."""

    row: Rows
    profile: Float32s
    bits: npt.NDArray[np.uint64]


def statistics(known: Known, tuning: Tuning) -> tuple[Float64s, Float64s]:
    """What these series look like: their usual levels float64[n], and float64[n, STATISTICS] in their own units.

    Nothing is relative yet: whoever compares the series says which are.
    """
    row, found = known.row, np.zeros((len(known.row), len(STATISTICS)))
    day = known.profile[:, : season.DAY].astype(np.float64)
    visited = (day != 0.0).all(axis=1)
    usual = np.where(visited, row["anchor"] + day.mean(axis=1), row["slow"])
    for name in (*_SPREADS, *_RESTS, *_ROUTINE):
        found[:, _AT[name]] = row[name]
    found[:, _SEEN] = novelty.extent(known.bits)
    found[:, _AT["below"]] = np.maximum(usual - row["least"], 0.0)
    found[:, _AT["above"]] = np.maximum(row["most"] - usual, 0.0)
    better = row["season_spread"] < tuning.season_better * row["spread"]
    found[:, _AT["seasonal"]] = visited & better & (row["seasons"] > tuning.season_samples)
    found[:, DAY] = np.where(visited[:, None], day + (row["anchor"] - usual)[:, None], 0.0)
    return usual, found


def in_units(found: Float64s, units: Float64s) -> Float64s:
    """The same statistics with sizes in these units, float64[n], marked as relative."""
    scaled = found.copy()
    sizes = [_AT[name] for name in (*_SPREADS, *_RESTS, "below", "above")] + [*range(DAY.start, DAY.stop)]
    scaled[:, sizes] /= np.maximum(np.abs(units), _TINY)[:, None]
    scaled[:, _AT["relative"]] = 1.0
    return scaled


def start(state: Known, slots: Int32s, at_s: float, day: season.Spot, prior: Float64s, tuning: Tuning) -> None:
    """Let these series, which have learned `OWN_SAMPLES` each, start warm; the state is changed.

    at_s: now. day: where now lies in the day. prior: float64[n, STATISTICS].
    """
    rows, prior = state.row[slots], _legal(prior)
    # So the season below goes through the level of now.
    shape_now = _at(prior[:, DAY], day)
    relative, seasonal = prior[:, _AT["relative"]] > 0.5, prior[:, _AT["seasonal"]] > 0.5
    whole = np.where(seasonal, np.maximum(1.0 + shape_now, 0.05), 1.0)
    unit = np.where(relative, np.abs(rows["level"]) / whole, 1.0)
    # How far values lie apart follows the level of the hour in some series and not in others: as counts do (Poisson),
    # with its root, is between. These are the spreads with a short memory, so their hour is the present one.
    near = unit * np.where(relative, np.sqrt(whole), 1.0)
    own = OWN_SAMPLES / (OWN_SAMPLES + PRIOR_SAMPLES)
    usual = rows["level"] - np.where(seasonal, shape_now * unit, 0.0)
    for name in ("spread", "slow_spread", "rest_spread"):
        rows[name] = own * rows[name] + (1.0 - own) * (near if name == "spread" else unit) * prior[:, _AT[name]]
    for name in _ROUTINE:
        rows[name] = prior[:, _AT[name]]
    rows["days"] = 1.0
    rows["slow"] = usual
    for name in _RESTS:
        rows[name] = unit * prior[:, _AT[name]]
    rows["rest"] = np.where(seasonal, 0.0, rows["rest"])
    for low, high in (("least", "most"), ("low", "high")):
        rows[low] = np.minimum(rows[low], usual - unit * prior[:, _AT["below"]])
        rows[high] = np.maximum(rows[high], usual + unit * prior[:, _AT["above"]])
    novelty.begin_as(rows, _SEEN_UNITS)
    rows["n"] = np.maximum(rows["n"], max(USUAL_SAMPLES, tuning.warmup_samples))
    # Old enough to be judged, and where the day is known for it to be read.
    rows["first"] = np.minimum(rows["first"], at_s - np.where(seasonal, _DAY_S, tuning.warmup_s))
    for name in ("season_spread", "season_most"):
        rows[name] = np.where(seasonal, near * prior[:, _AT[name]], rows[name])
    rows["seasons"] = np.where(seasonal, tuning.season_samples + 1.0, rows["seasons"])
    rows["trust"] = np.where(seasonal, rows["trust"], 0.0)
    state.row[slots] = rows
    state.bits[slots] |= novelty.between(prior[:, _SEEN])
    with_day = slots[seasonal]
    buckets = (usual - rows["anchor"])[:, None] + unit[:, None] * prior[:, DAY]
    state.profile[with_day, : season.DAY] = season.as_buckets(buckets[seasonal])


def _legal(prior: Float64s) -> Float64s:
    """No size below 0, whatever an estimator made of them."""
    sizes = [_AT[name] for name in ("below", "above", *_SPREADS, *_ROUTINE)]
    found = prior.copy()
    found[:, sizes] = np.maximum(found[:, sizes], 0.0)
    return found


def _at(shapes: Float64s, day: season.Spot) -> Float64s:
    """Value of each shape at this place of the day, between the centres of two buckets."""
    part = day.passed - 0.5
    near = day.after if part >= 0.0 else day.before
    found: Float64s = shapes[:, day.bucket] + abs(part) * (shapes[:, near] - shapes[:, day.bucket])
    return found
