"""Whether bad models get past the gate, and good ones do: twenty deliberately bad detectors, ten good ones.

bad    four each that give one score to everything, give no number for some rows, were fitted and calibrated on features
       in another order, were fitted and calibrated on an incident, or learned from shuffled labels (a classifier of
       injected anomalies in a detector's clothes)
good   the shipped recipes with five seeds each

Each is fitted, calibrated and judged by the code of `duri train`; what that refuses counts as refused. The gate is
asked as if 48 hours in the shadow had gone without a false alarm, so nothing but the evaluation stands in a bad one's
way; where nothing is live, and where a good model is.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

from benchmarks.bench_training import generate
from benchmarks.harness import report
from pipeline.configfile import shipped_config
from pipeline.errors import DuriError
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.evaluating import LIVE, NEW, Scorer
from pipeline.offline.training.fitting import calibrate, collect, fit, split_of
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.sought import Source
from pipeline.offline.training.worth import worth
from pipeline.registry import gate
from pipeline.registry.manifest import FeatureSchema, ModelManifest, Training

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Block
    from pipeline.offline.training.fitting import Rows

SERVICES, SIGNALS, DAYS = 6, 8, 20
EACH = 4
SHADOW = {gate.SHADOW: 48.0, gate.SHADOW_FALSE_ALARMS: 0.0}


class World(NamedTuple):
    """What all candidates have in common: blocks with the learners' verdicts, the parts of the time, rows to fit on."""

    blocks: list[Block]
    spans: Mapping[str, Span]
    rows: Rows


class Constant(BaseEstimator):
    """One score for everything."""

    def __init__(self, score: float) -> None:
        self.score = score

    def score_samples(self, features: np.ndarray) -> np.ndarray:
        return np.full(len(features), self.score)


class Leaky(BaseEstimator):
    """A good estimator that now and then gives no number."""

    def __init__(self, inner: Any, every: int) -> None:
        self.inner, self.every = inner, every

    def score_samples(self, features: np.ndarray) -> np.ndarray:
        score = self.inner.score_samples(features)
        score[:: self.every] = np.nan
        return np.asarray(score)


class Reordered(BaseEstimator):
    """What a script does that takes the columns in another order."""

    def __init__(self, inner: Any, order: np.ndarray) -> None:
        self.inner, self.order = inner, order

    def score_samples(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.inner.score_samples(features[:, self.order]))


class Classified(BaseEstimator):
    """A classifier of anomalies as a detector."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def score_samples(self, features: np.ndarray) -> np.ndarray:
        return -np.asarray(self.inner.predict_proba(features)[:, 1])


def bad(world: World, rng: np.random.Generator) -> Iterator[tuple[str, Any, Any]]:
    """(kind, what it was calibrated as, what is judged)."""
    rows = world.rows
    for number in range(EACH):
        constant = Constant(rng.normal())
        yield "constant score", constant, constant
        leaky = Leaky(PCA(0.9).fit(rows.clean), int(rng.integers(2, 500)))
        yield "NaN", leaky, leaky
        model = PCA(0.9) if number % 2 else IsolationForest(random_state=number)
        order = rng.permutation(rows.clean.shape[1])
        model.fit(rows.clean[:, order])
        yield "wrong feature order", Reordered(model, order), model
        incident = rows.clean + np.where(rng.random(rows.clean.shape[1]) < 0.5, rng.uniform(2, 4), 0.0)
        model = PCA(0.9) if number % 2 else IsolationForest(random_state=number)
        model.fit(incident * rng.uniform(2, 4))
        yield "trained on an incident", model, model
        shuffled = Classified(
            HistGradientBoostingClassifier(random_state=number).fit(rows.dirty, rng.permutation(rows.injected))
        )
        yield "shuffled labels", shuffled, shuffled


def good(world: World) -> Iterator[tuple[str, Any, Any]]:
    """The shipped recipes with other seeds."""
    for seed in range(1, 6):
        for name in ("isolation_forest", "pca"):
            estimator = fit(load_recipe(name, shipped_config()), _half(world.rows, seed), seed).estimator
            yield name, estimator, estimator


def _half(rows: Rows, seed: int) -> Rows:
    """Another half of the rows for each seed: PCA has no seed of its own."""
    kept = np.sort(np.random.default_rng(seed).permutation(len(rows.frame))[: len(rows.frame) // 2])
    return type(rows)(*(column[kept] for column in rows))


def judged(world: World, calibrated: Any, candidate: Any, live: Scorer | None) -> tuple[str, ...]:
    """What training or the gate has against it."""
    budget = 0.5
    try:
        threshold = calibrate(calibrated, world.blocks, world.spans["calibrate"], budget)
    except DuriError as error:
        return (str(error),)
    scorers = {NEW: Scorer(candidate, threshold), **({} if live is None else {LIVE: live})}
    found = worth(world.blocks, world.spans["evaluate"], scorers, source=Source.INJECTED, budget=budget, seed=0)
    manifest = _manifest(found.metrics, threshold)
    return gate.objections(manifest, None if live is None else manifest, SHADOW)


def _manifest(metrics: dict[str, float], threshold: float) -> ModelManifest:
    return ModelManifest(
        name="candidate",
        kind="detector",
        training=Training(recipe={}, seed=0, dataset="", start=0, end=1),
        features=FeatureSchema(version=1, names=("a",)),
        libraries={},
        metrics=metrics,
        threshold=threshold,
        sha256="",
        size=1,
    )


def main() -> None:
    """All candidates where nothing is live, and where a good model is."""
    recipe = load_recipe("pca", shipped_config())
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "data", SERVICES, SIGNALS, DAYS)
        dataset = Dataset(Path(folder) / "data")
        spans = split_of(dataset.span, recipe)
        blocks = list(Blocks(dataset, (), recipe.injected * 3, 0).read(Learners()))
        world = World(blocks, spans, collect(blocks, spans["fit"], 20_000))
        estimator = fit(recipe, world.rows, 0).estimator
        live = Scorer(estimator, calibrate(estimator, blocks, spans["calibrate"], 0.5))
        figures: dict[str, Any] = {}
        for name, other in (("nothing live", None), ("a good model live", live)):
            refused, passed, why = Counter[str](), Counter[str](), Counter[str]()
            for kind, calibrated, candidate in bad(world, np.random.default_rng(7)):
                refused[kind] += bool(judged(world, calibrated, candidate, other))
            for kind, calibrated, candidate in good(world):
                against = judged(world, calibrated, candidate, other)
                passed[kind] += not against
                why.update(f"{kind}: {reason}" for reason in against)
            figures[name] = {
                "bad_refused": f"{refused.total()} of {5 * EACH}",
                "good_passed": f"{passed.total()} of 10",
                "refused": dict(refused),
                "passed": dict(passed),
                "why_good_ones_were_refused": dict(why),
            }
    report("safety", figures)


if __name__ == "__main__":
    main()
