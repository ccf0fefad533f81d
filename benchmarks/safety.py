"""Whether bad models get past the gate, and good ones do: twenty deliberately bad detectors, ten good ones.

bad    four each that give one score to everything, give no number for some rows, were fitted and calibrated on
       features in another order (in units of their own, as raw signals are: those that are scaled alike may be in any
       order and are nearly as good), were fitted and calibrated during an incident that lasts (on frames of the
       world's own trouble alone), or learned from shuffled labels (a classifier of injected anomalies in a detector's
       clothes)
good   the shipped recipes with five seeds each, fitted on another half of the rows

The world is that of `benchmarks.coupled`: half of its trouble shows in several signals together only. Each candidate is
fitted, calibrated and judged on what is labelled there by the code of `duri train`; what that refuses counts as
refused. The gate is asked as if 48 hours in the shadow had gone without a false alarm, so nothing but the evaluation
stands in a bad one's way; where nothing is live, and where a good model is: of the same recipe, as a model's name says
(principal components for the bad ones).

    python -m benchmarks.safety SEED…      one world for each seed; 1 to 9 were used while this was developed
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

from benchmarks.coupled import generate
from benchmarks.harness import report
from pipeline.configfile import shipped_config
from pipeline.errors import DuriError
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.evaluating import LIVE, NEW, Scorer
from pipeline.offline.training.fitting import calibrate, collect, fit, split_of
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.sought import Source, sought
from pipeline.offline.training.worth import worth
from pipeline.registry import gate
from pipeline.registry.manifest import FeatureSchema, ModelManifest, Training
from pipeline.settings import ModelSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Block
    from pipeline.offline.training.fitting import Rows

DAYS = 28
EACH = 4
RECIPES = ("isolation_forest", "pca")
BUDGET = 0.5
SHADOW = {gate.SHADOW: 48.0, gate.SHADOW_FALSE_ALARMS: 0.0}


class World(NamedTuple):
    """What all candidates have in common: blocks with the learners' verdicts, the parts of the time, rows to fit on.

    within_range: share of the values of trouble that shows in several signals only which lie in their signal's range.
    incident: features of all frames that are labelled as trouble, float64[n, features].
    """

    within_range: float
    incident: np.ndarray
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


class Measured(BaseEstimator):
    """What a script does that takes the columns in units of their own, and perhaps in another order."""

    def __init__(self, inner: Any, units: np.ndarray, order: np.ndarray) -> None:
        self.inner, self.units, self.order = inner, units, order

    def score_samples(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.inner.score_samples((features * self.units)[:, self.order]))


class Classified(BaseEstimator):
    """A classifier of anomalies as a detector."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def score_samples(self, features: np.ndarray) -> np.ndarray:
        return -np.asarray(self.inner.predict_proba(features)[:, 1])


def bad(world: World, rng: np.random.Generator) -> Iterator[tuple[str, Any, Any]]:
    """(kind, what is judged, what it was calibrated as or the features of what it was calibrated on)."""
    rows = world.rows
    for number in range(EACH):
        constant = Constant(rng.normal())
        yield "constant score", constant, constant
        leaky = Leaky(PCA(0.9).fit(rows.clean), int(rng.integers(2, 500)))
        yield "NaN", leaky, leaky
        model = PCA(0.9) if number % 2 else IsolationForest(random_state=number)
        usual, units = np.arange(rows.clean.shape[1]), 10 ** rng.uniform(-2, 2, rows.clean.shape[1])
        model.fit(rows.clean * units)
        yield "wrong feature order", Measured(model, units, np.roll(usual, number + 1)), Measured(model, units, usual)
        model = PCA(0.9) if number % 2 else IsolationForest(random_state=number)
        incident = world.incident[rng.permutation(len(world.incident))[: len(world.incident) // 2]]
        yield "trained on an incident", model.fit(incident), incident
        shuffled = Classified(
            HistGradientBoostingClassifier(random_state=number).fit(rows.dirty, rng.permutation(rows.injected))
        )
        yield "shuffled labels", shuffled, shuffled


def good(world: World) -> Iterator[tuple[str, Any, Any]]:
    """The shipped recipes with other seeds."""
    for seed in range(1, 6):
        for name in RECIPES:
            estimator = fit(load_recipe(name, shipped_config()), _half(world.rows, seed), seed).estimator
            yield name, estimator, estimator


def _half(rows: Rows, seed: int) -> Rows:
    """Another half of the rows for each seed: PCA has no seed of its own."""
    kept = np.sort(np.random.default_rng(seed).permutation(len(rows.frame))[: len(rows.frame) // 2])
    return type(rows)(*(column[kept] for column in rows))


def judged(world: World, candidate: Any, calibrated: Any, live: Scorer | None) -> tuple[str, ...]:
    """What training or the gate has against it."""
    blocks, scored = world.blocks, calibrated
    if isinstance(calibrated, np.ndarray):
        blocks, scored = [_lasting(block, calibrated) for block in blocks], candidate
    try:
        threshold = calibrate(scored, blocks, world.spans["calibrate"], BUDGET)
    except DuriError as error:
        return (str(error),)
    scorers = {NEW: Scorer(candidate, threshold), **({} if live is None else {LIVE: live})}
    found = worth(world.blocks, world.spans["evaluate"], scorers, source=Source.WINDOWS, budget=BUDGET, seed=0)
    manifest = _manifest(found.metrics, threshold)
    return gate.objections(manifest, None if live is None else manifest, SHADOW, ModelSettings().margin)


def _lasting(block: Block, incident: np.ndarray) -> Block:
    """The block as if these features of an incident went on all the time, and nobody had said that they are one."""
    frames, services = block.abnormal.shape
    rows = np.resize(incident, (frames * services, incident.shape[1])).reshape(frames, services, -1)
    return replace(block, clean=rows, abnormal=np.zeros_like(block.abnormal))


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


def world_of(seed: int, folder: Path) -> World:
    """The world of this seed, read and judged by the online learners once for all candidates."""
    made, recipe = generate(folder, seed, DAYS), load_recipe("pca", shipped_config())
    spans = split_of(made.dataset.span, recipe)
    seek = sought(made.dataset, spans["evaluate"], windows=made.windows)
    blocks = list(Blocks(made.dataset, (), recipe.injected * 3, 0, seek, made.windows).read(Learners()))
    incident = np.concatenate([block.clean[block.trouble] for block in blocks])
    incident = incident[np.isfinite(incident).all(axis=1)]
    return World(made.within_range, incident, blocks, spans, collect(blocks, spans["fit"], 20_000))


def measured(world: World, live: Mapping[str, Scorer]) -> dict[str, Any]:
    """All candidates, each beside the live model of its recipe, where there is one."""
    refused, passed, why = Counter[str](), Counter[str](), Counter[str]()
    for kind, candidate, calibrated in bad(world, np.random.default_rng(7)):
        refused[kind] += bool(judged(world, candidate, calibrated, live.get("pca")))
    for kind, candidate, calibrated in good(world):
        against = judged(world, candidate, calibrated, live.get(kind))
        passed[kind] += not against
        why.update(f"{kind}: {reason}" for reason in against)
    return {
        "bad_refused": f"{refused.total()} of {5 * EACH}",
        "good_passed": f"{passed.total()} of 10",
        "refused": dict(refused),
        "passed": dict(passed),
        "why_good_ones_were_refused": dict(why),
    }


def main() -> None:
    """All candidates in each world where nothing is live, and where a good model is."""
    parser = argparse.ArgumentParser(description="Bad models that the gate refuses, and good ones that pass.")
    parser.add_argument("seeds", type=int, nargs="+", help="Of the generated worlds.")
    figures: dict[str, Any] = {}
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            world = world_of(seed, Path(folder) / "data")
        live = {}
        for name in RECIPES:
            estimator = fit(load_recipe(name, shipped_config()), world.rows, 0).estimator
            live[name] = Scorer(estimator, calibrate(estimator, world.blocks, world.spans["calibrate"], BUDGET))
        figures[str(seed)] = {
            "within_range": round(world.within_range, 3),
            "nothing live": measured(world, {}),
            "a good model live": measured(world, live),
        }
    report("safety", {"worlds": figures})


if __name__ == "__main__":
    main()
