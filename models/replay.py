"""Run a learner over one recorded series as the pipeline would."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from models.contracts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.contracts import Float64s, Int64s, OnlineLearner


def replay(make: Callable[[], OnlineLearner], ts: Int64s, values: Float64s) -> Verdicts:
    """Judge one series, ts int64[n] ms and values float64[n], with a new learner.

    As in the pipeline, a sample that is not newer than all before it, or not finite, is not shown to the
    learner; its row has score 0 and NaN for the band, and an alarm that is open goes on across it.
    """
    newest = np.maximum.accumulate(np.append(np.iinfo(np.int64).min, ts[:-1]))
    shown = (ts > newest) & np.isfinite(values)
    learner = make()
    learner.grow(1)
    given = learner.score_learn(np.zeros(int(shown.sum()), np.int32), ts[shown], values[shown])
    columns = {field.name: _spread(getattr(given, field.name), shown) for field in fields(Verdicts)}
    before = np.maximum.accumulate(np.where(shown, np.arange(len(shown)), 0))
    for state in ("alarm", "shape"):
        columns[state] = columns[state][before]
    return Verdicts(**columns)


def _spread(column: np.ndarray[tuple[int], np.dtype[np.generic]], shown: np.ndarray) -> np.ndarray:
    full = np.full(len(shown), np.nan if column.dtype == np.float64 else 0, column.dtype)
    full[shown] = column
    return full
