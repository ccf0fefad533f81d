"""Which anomalies matter: a live ranker says of each how likely people care, when it opens; the unlikely are quiet.

Features are those of training (`models.offline.anomaly_features`) and are followed from the first anomaly on, so that
a ranker begins warm. What is quiet is published like any other, and says so; it causes no advice by itself.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from models.offline.anomaly_features import AnomalyFacts, AnomalyFeatures
from models.offline.scoring import likelihood
from pipeline.records import Ranked, to_ms
from pipeline.registry.manifest import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from pipeline.detect.trained.seats import Scorer, Seating
    from pipeline.records import Anomaly

    Floats = npt.NDArray[np.float64]

_DECIMALS = 9


class Ranking:
    """Ranks the anomalies of one partition in the order in which they open."""

    def __init__(self, seating: Seating) -> None:
        self._seating = seating
        self._features = AnomalyFeatures()
        self.failures: Counter[str] = Counter()

    def rank(self, opened: Sequence[Anomaly]) -> list[Ranked | None]:
        """What the live ranker says of anomalies that have just opened, in their order, asked once for all of them.

        None without a ranker, and for those at which it fails.
        """
        rows = [self._features.advance(facts_of(one)) for one in opened]
        found = self._seating.only(Kind.RANKER)
        if found is None or not rows:
            return [None] * len(rows)
        name, ranker = found
        return [self._said(name, ranker, one) for one in self._likelihoods(ranker, np.array(rows))]

    def _likelihoods(self, ranker: Scorer, rows: Floats) -> list[float | None]:
        """Of each row; None where the ranker fails."""
        try:
            return [float(one) for one in likelihood(ranker.estimator, rows)]
        except Exception as error:  # noqa: BLE001  an estimator raises whatever it stumbles over; detect goes on
            if len(rows) > 1:  # what it stumbles over in one row is no reason to say nothing of the others
                return [one for row in rows for one in self._likelihoods(ranker, row[None])]
            self.failures[type(error).__name__] += 1
            return [None]

    def _said(self, name: str, ranker: Scorer, likely: float | None) -> Ranked | None:
        if likely is None:
            return None
        if not math.isfinite(likely):
            self.failures["not_finite"] += 1
            return None
        probability = round(likely, _DECIMALS)
        return Ranked(model=name, version=ranker.version, probability=probability, quiet=probability < ranker.threshold)

    def snapshot(self) -> dict[str, npt.NDArray[np.generic]]:
        """Copy of the whole state."""
        packed = msgspec.msgpack.encode([self._features.snapshot(), dict(sorted(self.failures.items()))])
        return {"history": np.frombuffer(packed, dtype=np.uint8).copy()}

    def restore(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Become what gave this snapshot; without a history where it knows of none. Raises ValueError."""
        self._features, self.failures = AnomalyFeatures(), Counter()
        if "history" in state:
            history, failures = msgspec.msgpack.decode(
                state["history"].tobytes(), type=tuple[list[tuple[str, str, list[int]]], dict[str, int]]
            )
            self._features.restore(history)
            self.failures.update(failures)


def facts_of(opened: Anomaly) -> AnomalyFacts:
    """What the features are made of, of the record with which an anomaly opens."""
    return AnomalyFacts(
        to_ms(opened.opened_at),
        opened.service,
        opened.signal,
        opened.shape or "",
        opened.direction.value,
        opened.severity.value,
        opened.score,
        _or_nan(opened.observed),
        _or_nan(opened.expected),
        _or_nan(opened.lower),
        _or_nan(opened.upper),
        frozenset(firing.detector.value for firing in opened.detectors),
    )


def _or_nan(number: float | None) -> float:
    return math.nan if number is None else number
