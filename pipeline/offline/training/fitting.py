"""Fitting: parameters by time-series cross-validation, and an alarm threshold to a stated budget of false alarms."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score
from sklearn.model_selection import TimeSeriesSplit

from models.evaluation import runs
from models.offline.budget import beyond, most_alarms
from models.offline.scoring import abnormality
from pipeline.errors import FileError, ModelError
from pipeline.offline.backends import SERIAL
from pipeline.offline.dataset.times import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy.typing as npt

    from pipeline.offline.backends import Workers
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Block, Blocks
    from pipeline.offline.training.recipe import Recipe

    Floats = npt.NDArray[np.float64]

_FOLDS: Final = 3
_FEWEST_ROWS: Final = 200
_DRAWN: Final = 0
"""Seed of which rows are drawn, where there are too many: the same for every training on the same data."""
EPISODE_GAP: Final = 15
"""Alarms at most so many frames apart are one false alarm: a person is told once."""


class Rows(NamedTuple):
    """n rows: frame int64[n], clean and dirty float64[n, features], injected bool[n]."""

    frame: npt.NDArray[np.int64]
    clean: Floats
    dirty: Floats
    injected: npt.NDArray[np.bool_]

    def pick(self, rows: npt.NDArray[np.int64]) -> Rows:
        """These rows, in this order."""
        return Rows(self.frame[rows], self.clean[rows], self.dirty[rows], self.injected[rows])


class Fitted(NamedTuple):
    """An estimator, the parameters that the search chose, and the mean average precision of each candidate."""

    estimator: Any
    chosen: dict[str, Any]
    tried: list[tuple[dict[str, Any], float]]


class Drawn:
    """Rows as they come, of which at most `limit` are kept, each as likely as any other, in their order."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rng = np.random.default_rng(_DRAWN)
        self._lots = np.zeros(0)
        self.columns: tuple[npt.NDArray[Any], ...] = ()
        """Of the rows kept, each [n, …]; none before any row came."""

    def __len__(self) -> int:
        return len(self._lots)

    def add(self, columns: tuple[npt.NDArray[Any], ...]) -> None:
        """More rows: columns of equal length."""
        pairs = zip(self.columns, columns, strict=True)
        self.columns = tuple(np.concatenate(pair) for pair in pairs) if self.columns else tuple(columns)
        self._lots = np.concatenate([self._lots, self._rng.random(len(columns[0]))])
        if len(self._lots) > self._limit:
            kept = np.sort(np.argpartition(self._lots, self._limit)[: self._limit])
            self.columns, self._lots = tuple(column[kept] for column in self.columns), self._lots[kept]


def collect(blocks: Blocks, span: Span, limit: int) -> Rows:
    """Normal rows of the span in order of time, each as likely as any other where there are more than `limit`.

    No more than those and a block are in memory. Raises FileError where too few are left.
    """
    drawn = Drawn(limit)
    for block in blocks:
        drawn.add(_normal_rows(block, span))
    if len(drawn) < _FEWEST_ROWS:
        raise FileError(
            f"{span}: only {len(drawn)} frames of normal data are left after labelled trouble, maintenance "
            f"windows and warm-up; {_FEWEST_ROWS} are needed: export a longer range"
        )
    rows = Rows(*drawn.columns)
    return rows.pick(np.argsort(rows.frame, kind="stable"))


def _normal_rows(block: Block, span: Span) -> Rows:
    part = block.within(span)
    clean, dirty = block.clean[part], block.dirty[part]
    normal = ~block.abnormal[part] & np.isfinite(clean).all(axis=2) & np.isfinite(dirty).all(axis=2)
    frame, service = np.nonzero(normal)
    return Rows(frame, clean[frame, service], dirty[frame, service], block.injected[part][frame, service])


def split_of(span: Span, recipe: Recipe) -> Mapping[str, Span]:
    """The parts of the time that a training by this recipe uses for what. Raises FileError where it is too short."""
    rest = 1.0 - recipe.fit_share - recipe.calibrate_share
    parts = {"fit": recipe.fit_share, "calibrate": recipe.calibrate_share, "evaluate": rest}
    return split(span, parts, timedelta(seconds=recipe.gap_s))


def fit(recipe: Recipe, rows: Rows, seed: int, workers: Workers = SERIAL) -> Fitted:
    """The candidate that ranks injected anomalies best on later folds, fitted on all rows.

    Raises SettingsError for parameters that there are not, ModelError where it cannot be fitted.
    """
    candidates = list(recipe.candidates(seed))
    if len(candidates) == 1:
        parameters, estimator = candidates[0]
        return Fitted(_fitted(estimator, rows.clean), parameters, [])
    scores = workers.map(_precision, [(estimator, rows) for _, estimator in candidates])
    tried = [(parameters, score) for (parameters, _), score in zip(candidates, scores, strict=True)]
    parameters, estimator = list(recipe.candidates(seed))[int(np.argmax(scores))]
    return Fitted(_fitted(estimator, rows.clean), parameters, tried)


def _fitted(estimator: Any, features: Floats) -> Any:
    """Fit it, and see that it can score what it was fitted on. Raises ModelError that says what is the matter."""
    try:
        estimator.fit(features)
        estimator.score_samples(features[:1])
    except Exception as error:  # an estimator raises whatever it stumbles over
        same = np.flatnonzero(np.ptp(features, axis=0) == 0)
        constant = f"; {len(same)} of {features.shape[1]} features never change" if len(same) else ""
        raise ModelError(
            f"{type(estimator).__name__} cannot be fitted on {len(features)} rows ({error}){constant}: name signals "
            "that move in the recipe's `signals`, or other parameters"
        ) from error
    return estimator


def _precision(estimator: Any, rows: Rows) -> float:
    """Mean average precision over folds, each fitted on the time before it."""
    found = []
    for before, after in TimeSeriesSplit(_FOLDS).split(rows.frame):
        labels = rows.injected[after]
        if labels.any() and not labels.all():
            score = -_fitted(estimator, rows.clean[before]).score_samples(rows.dirty[after])
            found.append(float(average_precision_score(labels, score)))
    return float(np.mean(found)) if found else 0.0


def calibrate(estimator: Any, blocks: Iterable[Block], span: Span, budget: float) -> float:
    """The lowest threshold with which a next period as long will keep to so many false alarms per service and day.

    It is set on normal data of the span; `models.offline.budget` says how sure that is. Raises FileError where there is
    none to calibrate on, ModelError for scores that are all the same, or no numbers.
    """
    scores = [score for block in blocks for score in _service_scores(estimator, block, span)]
    days = sum(length for _, length in scores)
    rated = np.concatenate([score[np.isfinite(score)] for score, _ in scores]) if scores else np.zeros(0)
    if not len(rated) or not days:
        raise FileError(f"{span}: no normal data is left to calibrate the alarm threshold on; export a longer range")
    if rated.min() == rated.max():
        raise ModelError(f"the model gives {rated[0]:g} to every frame of {span}; look at what it was fitted on")
    most, whole = most_alarms(budget * days), [np.nan_to_num(score, nan=-np.inf) for score, _ in scores]
    if most < 0:
        return beyond(np.concatenate([_peaks(score) for score in whole]), budget * days)
    threshold = float(np.nextafter(rated.max(), np.inf))
    for level in np.unique(np.quantile(rated, 1 - np.geomspace(1e-6, 0.2, 200)))[::-1]:
        if sum(len(list(runs(score >= level, EPISODE_GAP))) for score in whole) > most:
            break
        threshold = float(level)
    return threshold


def _peaks(score: Floats) -> Floats:
    """The highest score of each stretch as long as what counts as one alarm, where there is any."""
    parts = np.array_split(score, max(len(score) // EPISODE_GAP, 1))
    highest = np.array([part.max(initial=-np.inf) for part in parts])
    found: Floats = highest[np.isfinite(highest)]
    return found


def _service_scores(estimator: Any, block: Block, span: Span) -> Iterator[tuple[Floats, float]]:
    """Each service's scores on normal frames (NaN elsewhere), and how many days of them there are."""
    part = block.within(span)
    step = float(block.start[1] - block.start[0]) if len(block.start) > 1 else 60_000.0
    for service in range(len(block.services)):
        features = block.clean[part, service]
        score = abnormality(estimator, features)
        lost = int((np.isfinite(features).all(axis=1) & ~np.isfinite(score)).sum())
        if lost:
            raise ModelError(
                f"the model gives no number for {lost} of {len(score)} frames of {block.services[service]}; look at "
                "its parameters, and at what it was fitted on"
            )
        score[block.abnormal[part, service]] = np.nan
        yield score, float(np.isfinite(score).sum()) * step / 86_400_000
