"""The live learners on recorded samples: what detect would have said of each, one verdict a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.batch import make_batch
from pipeline.detect.registry import SeriesRegistry

if TYPE_CHECKING:
    import numpy.typing as npt

    from models.contracts import Verdicts
    from pipeline.detect.configuration import DetectConfiguration
    from pipeline.series import Series


class Scored(NamedTuple):
    """Verdict i is on sample `rows[i]` (int64[k]); samples that live detection drops have none."""

    rows: npt.NDArray[np.int64]
    watched: npt.NDArray[np.float64]
    verdicts: Verdicts


def score_series(
    configuration: DetectConfiguration, series: Series, ts: npt.NDArray[np.int64], value: npt.NDArray[np.float64]
) -> Scored:
    """Score, then learn, each sample of one series in order; ts int64[n] ms, value float64[n].

    A counter is judged by its rate per second, as live; so its first sample has no verdict.
    """
    registry = SeriesRegistry(configuration)
    labels = [series.canonical(), *[None] * (len(ts) - 1)] if len(ts) else []
    batch = make_batch(np.full(len(ts), series.identity(), dtype=np.uint64), ts, value, labels)
    slots = registry.resolve(batch)
    watched = registry.store.advance(slots, ts, value, 0)
    rows, verdicts = registry.watched.score(slots, ts, watched)
    return Scored(rows, watched[rows], verdicts)
