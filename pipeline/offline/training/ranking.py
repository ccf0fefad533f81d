"""Training a ranker: which anomalies matter to people, learned from their answers and from outcomes.

An anomaly is judged by what was known when it opened. The card compares the order it gives with that by the anomaly's
own score, which is what people have without it, on anomalies that neither fit nor search nor threshold saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from msgspec import json
from sklearn.metrics import average_precision_score
from sklearn.model_selection import TimeSeriesSplit

from models.offline.anomaly_features import AnomalyFacts, of_anomalies
from models.offline.budget import most_alarms
from models.offline.scoring import likelihood
from pipeline.errors import FileError
from pipeline.offline.backends import SERIAL
from pipeline.offline.dataset.tables import Table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from pipeline.offline.backends import Workers
    from pipeline.offline.dataset.reading import Dataset
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.recipe import Recipe

    Floats = npt.NDArray[np.float64]

_FOLDS: Final = 3
_FEWEST: Final = 40
_DAY_MS: Final = 86_400_000


class Answered(NamedTuple):
    """n anomalies that something was said of, by time.

    at int64[n] ms, features float64[n, f], score float64[n] by detect, matters bool[n], and the service of each.
    """

    at: npt.NDArray[np.int64]
    features: Floats
    score: Floats
    matters: npt.NDArray[np.bool_]
    service: list[str]

    def within(self, span: Span) -> Answered:
        """Those that opened within the span."""
        kept = np.flatnonzero((self.at >= span.start) & (self.at < span.end))
        return Answered(
            self.at[kept], self.features[kept], self.score[kept], self.matters[kept], [self.service[at] for at in kept]
        )


class FittedRanker(NamedTuple):
    """An estimator, the parameters that the search chose, and each candidate's mean average precision."""

    estimator: Any
    chosen: dict[str, Any]
    tried: list[tuple[dict[str, Any], float]]


def answered(dataset: Dataset) -> Answered:
    """All anomalies that people or outcomes have labelled. Raises FileError where there are too few, or of one kind."""
    table = first_records(dataset)
    said = {window.anomaly: window.matters for window in dataset.windows()}
    features = of_anomalies(facts(table))
    kept = np.flatnonzero(table["id"].isin(list(said)).to_numpy())
    matters = np.array([said[one] for one in table["id"].iloc[kept]], dtype=bool)
    if len(kept) < _FEWEST or matters.all() or not matters.any():
        raise FileError(
            f"{dataset.folder}: {len(kept)} anomalies have an answer, {int(matters.sum())} of them that they mattered; "
            f"{_FEWEST} are needed and both answers: answer more recommendations (`duri feedback`), export again"
        )
    at = table["opened_at"].dt.as_unit("ms").astype("int64").to_numpy()
    service = table["service"].astype(str).to_numpy()
    return Answered(at[kept], features[kept], table["score"].to_numpy()[kept], matters, service[kept].tolist())


def first_records(dataset: Dataset) -> pd.DataFrame:
    """The record with which each anomaly opened, by time."""
    table = dataset.read(Table.ANOMALIES).drop_duplicates("id", keep="first")
    return table.sort_values("opened_at", kind="stable", ignore_index=True)


def facts(table: pd.DataFrame) -> list[AnomalyFacts]:
    """What the features are made of, of rows of the table `anomalies`."""
    at = table["opened_at"].dt.as_unit("ms").astype("int64").tolist()
    words = [table[name].astype(str).tolist() for name in ("service", "signal", "direction", "severity")]
    numbers = [table[name].astype("float64").tolist() for name in ("score", "observed", "expected", "lower", "upper")]
    detectors = [frozenset(names) for names in table["detectors"]]
    shapes = [_shape(record) for record in table["record"]]
    columns = zip(at, words[0], words[1], shapes, words[2], words[3], *numbers, detectors, strict=True)
    return [AnomalyFacts(*row) for row in columns]


def _shape(record: str) -> str:
    return str(json.decode(record).get("shape") or "") if record else ""


def fit(recipe: Recipe, known: Answered, seed: int, workers: Workers = SERIAL) -> FittedRanker:
    """The candidate that orders later anomalies best, fitted on all. Raises SettingsError, FileError."""
    if len(known.at) < _FEWEST or known.matters.all() or not known.matters.any():
        raise FileError(
            f"only {len(known.at)} answered anomalies, {int(known.matters.sum())} of which mattered, are in the part "
            "to fit on; export a longer range"
        )
    candidates = list(recipe.candidates(seed))
    scores = workers.map(_precision, [(estimator, known) for _, estimator in candidates])
    parameters, estimator = list(recipe.candidates(seed))[int(np.argmax(scores))]
    tried = [(tried, score) for (tried, _), score in zip(candidates, scores, strict=True)] if len(scores) > 1 else []
    return FittedRanker(estimator.fit(known.features, known.matters), parameters, tried)


def _precision(estimator: Any, known: Answered) -> float:
    found = []
    for before, after in TimeSeriesSplit(_FOLDS).split(known.at):
        labels = known.matters[after]
        if labels.any() and len(set(known.matters[before].tolist())) > 1:
            ranks = rank(estimator.fit(known.features[before], known.matters[before]), known.features[after])
            found.append(float(average_precision_score(labels, ranks)))
    return float(np.mean(found)) if found else 0.0


def rank(estimator: Any, features: Floats) -> Floats:
    """How likely each anomaly matters, float64[n] for features float64[n, f]."""
    return likelihood(estimator, features)


def calibrate(estimator: Any, known: Answered, span: Span, budget: float) -> float:
    """The lowest rank with which a next period as long shows at most so many that do not matter by service and day."""
    days = max(len(set(known.service)), 1) * (span.end - span.start) / _DAY_MS
    ranks = rank(estimator, known.features) if len(known.at) else np.zeros(0)
    wrong = np.sort(ranks[~known.matters])[::-1]
    allowed = max(most_alarms(budget * days), 0)
    return float(np.nextafter(wrong[allowed], np.inf)) if allowed < len(wrong) else 0.0


def precision_at(recall: float, order: Floats, matters: npt.NDArray[np.bool_]) -> float:
    """Share of anomalies that matter among those from the first on that hold this share of all that matter; ties count.

    NaN where none matters.
    """
    if not matters.any():
        return float("nan")
    ranked = np.sort(order[matters])[::-1]
    level = ranked[max(int(np.ceil(recall * len(ranked))) - 1, 0)]
    shown = order >= level
    return float(matters[shown].mean())
