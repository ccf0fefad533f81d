"""Whether bad models get past the gate, and good ones do: twenty deliberately bad detectors, ten good ones.

bad    four each that give one score to everything; that give no number for some rows; that take their columns in
       another order than they were trained in (two exchanged, or all in a random order) while all names in estimator
       and manifest are the right ones; that were fitted on the frames of the world's incidents; and that learned from
       shuffled labels (a classifier of injected anomalies in a detector's clothes)
good   the shipped recipes with five seeds each, fitted on another half of the rows

Beside the twenty: models whose order of columns was wrong in their training already, and is the same wrong one ever
after. Their reference scores, threshold and evaluation are of what they do, so they are worth what the gate is told;
`f1_of_the_right_and_of_the_wrong_order` has that beside the same model with its columns in order.

The world is that of `benchmarks.coupled`: half of its trouble shows in several signals together only. Each candidate is
fitted, calibrated and judged on what is labelled there by the code of `duri train`; what that or the registry refuses
counts as refused. The gate is asked as if 48 hours in the shadow had gone without a false alarm, so nothing but the
evaluation stands in a bad one's way; where nothing is live, and where a good model is: of the same recipe, as a model's
name says (principal components for the bad ones).

    python -m benchmarks.safety SEED…      a world, and a line, for each seed; 1 to 9 were used while this was developed
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest

from benchmarks.coupled import SIGNALS, generate
from benchmarks.harness import report
from models.offline import stability
from models.offline.features import VERSION, names_of
from pipeline.configfile import shipped_config
from pipeline.errors import DuriError
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.evaluating import LIVE, NEW, Scorer
from pipeline.offline.training.fitting import calibrate, collect, fit, split_of
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.sought import Source, sought
from pipeline.offline.training.worth import Terms, worth
from pipeline.registry import gate
from pipeline.registry.manifest import FeatureSchema, ModelManifest, Training
from pipeline.registry.reference import check_reference, reference_of
from pipeline.settings import ModelSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.blocks import Block
    from pipeline.offline.training.fitting import Rows
    from pipeline.registry.manifest import Reference

DAYS = 28
EACH = 4
RECIPES = ("isolation_forest", "pca")
BUDGET = 0.5
NAMES = names_of(SIGNALS)
FEATURES = FeatureSchema(version=VERSION, names=NAMES)
SHADOW = {
    gate.SHADOW: 48.0,
    gate.SHADOW_DAYS: 12.0,
    gate.SHADOW_LONE: 0,
    gate.SHADOW_UNSCORED: 0.0,
    gate.SHADOW_ALARMS: 1.0,
    gate.SHADOW_OTHERS_ALARMS: 1.0,
}


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


class Reordered(BaseEstimator):
    """An estimator that is given its columns in another order than it was fitted on."""

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


class Candidate(NamedTuple):
    """A model to judge, and what it was fitted on, float64[n, features] in order of time.

    reference: what its training has kept of its scores; None: training asks the estimator as it is.
    """

    kind: str
    estimator: Any
    fitted_on: np.ndarray
    reference: Reference | None = None


def bad(world: World, rng: np.random.Generator) -> Iterator[Candidate]:
    """The twenty, and four that only their worth can tell."""
    rows = world.rows
    for number in range(EACH):
        yield Candidate("constant score", Constant(rng.normal()), rows.clean)
        yield Candidate("NaN", Leaky(PCA(0.9).fit(rows.clean), int(rng.integers(2, 500))), rows.clean)
        right = _model(number).fit(rows.clean)
        reference = reference_of("detector", right, NAMES, rows.clean)
        yield Candidate("wrong feature order", Reordered(right, _order(number, rng)), rows.clean, reference)
        yield Candidate("trained on an incident", _model(number).fit(world.incident), world.incident)
        labels = rng.permutation(rows.injected)
        shuffled = Classified(HistGradientBoostingClassifier(random_state=number).fit(rows.dirty, labels))
        yield Candidate("shuffled labels", shuffled, rows.clean)


def _order(number: int, rng: np.random.Generator) -> np.ndarray:
    """Two neighbours exchanged for the first two, any other order for the others."""
    found = np.arange(len(NAMES))
    if number < EACH // 2:
        at = int(rng.integers(0, len(NAMES) - 1))
        found[[at, at + 1]] = found[[at + 1, at]]
        return found
    while (found == np.arange(len(NAMES))).any():
        found = rng.permutation(len(NAMES))
    return found


def _model(number: int) -> Any:
    return PCA(0.9) if number % 2 else IsolationForest(random_state=number)


def good(world: World) -> Iterator[Candidate]:
    """The shipped recipes with other seeds."""
    for seed in range(1, 6):
        for name in RECIPES:
            half = _half(world.rows, seed)
            yield Candidate(name, fit(load_recipe(name, shipped_config()), half, seed).estimator, half.clean)


def _half(rows: Rows, seed: int) -> Rows:
    """Another half of the rows for each seed: PCA has no seed of its own."""
    kept = np.sort(np.random.default_rng(seed).permutation(len(rows.frame))[: len(rows.frame) // 2])
    return type(rows)(*(column[kept] for column in rows))


class Verdict(NamedTuple):
    """What training, the registry or the gate has against a candidate, and its F1; NaN where it came to none."""

    against: tuple[str, ...]
    f1: float = float("nan")


def judged(world: World, candidate: Candidate, live: Scorer | None) -> Verdict:
    """Calibrated, known again by its reference, evaluated, and asked at the gate."""
    try:
        threshold = calibrate(candidate.estimator, world.blocks, world.spans["calibrate"], BUDGET)
        reference = candidate.reference or reference_of("detector", candidate.estimator, NAMES, candidate.fitted_on)
        check_reference("candidate", manifest_of("detector", FEATURES, {}, threshold, reference), candidate.estimator)
    except DuriError as error:
        return Verdict((str(error),))
    scorers = {NEW: Scorer(candidate.estimator, threshold), **({} if live is None else {LIVE: live})}
    terms = Terms(Source.WINDOWS, BUDGET, 0, stability.spread(candidate.fitted_on))
    found = worth(world.blocks, world.spans["evaluate"], scorers, terms)
    manifest = manifest_of("detector", FEATURES, found.metrics, threshold, reference)
    against = gate.objections(manifest, None if live is None else manifest, SHADOW, ModelSettings().margin)
    return Verdict(against, found.metrics[gate.F1])


def manifest_of(
    kind: str, features: FeatureSchema, metrics: dict[str, float], threshold: float, reference: Reference
) -> ModelManifest:
    """What registry and gate are asked about a candidate that nobody has registered."""
    return ModelManifest(
        name="candidate",
        kind=kind,
        training=Training(recipe={}, seed=0, dataset="", start=0, end=1),
        features=features,
        libraries={},
        metrics=metrics,
        threshold=threshold,
        reference=reference,
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
    for candidate in bad(world, np.random.default_rng(7)):
        refused[candidate.kind] += bool(judged(world, candidate, live.get("pca")).against)
    for candidate in good(world):
        against = judged(world, candidate, live.get(candidate.kind)).against
        passed[candidate.kind] += not against
        why.update(f"{candidate.kind}: {reason}" for reason in against)
    return {
        "bad_refused": f"{refused.total()} of {5 * EACH}",
        "good_passed": f"{passed.total()} of 10",
        "refused": dict(refused),
        "passed": dict(passed),
        "why_good_ones_were_refused": dict(why),
    }


def in_another_order(world: World, rng: np.random.Generator) -> list[tuple[float, float]]:
    """F1 of a model with its columns in order, and with the columns of training and of ever after in another one."""
    clean = world.rows.clean
    pairs = []
    for number in range(EACH):
        right = _model(number).fit(clean)
        both = (right, Reordered(right, _order(number, rng)))
        found = [judged(world, Candidate("", estimator, clean), None).f1 for estimator in both]
        pairs.append((round(found[0], 3), round(found[1], 3)))
    return pairs


def main() -> None:
    """All candidates in each world where nothing is live, and where a good model is."""
    parser = argparse.ArgumentParser(description="Bad models that the gate refuses, and good ones that pass.")
    parser.add_argument("seeds", type=int, nargs="+", help="Of the generated worlds.")
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            world = world_of(seed, Path(folder) / "data")
        live = {}
        for name in RECIPES:
            estimator = fit(load_recipe(name, shipped_config()), world.rows, 0).estimator
            live[name] = Scorer(estimator, calibrate(estimator, world.blocks, world.spans["calibrate"], BUDGET))
        figures = {"nothing live": measured(world, {}), "a good model live": measured(world, live)}
        orders = {"f1_of_the_right_and_of_the_wrong_order": in_another_order(world, np.random.default_rng(8))}
        report("safety", {"seed": seed, "within_range": round(world.within_range, 3), **figures, **orders})


if __name__ == "__main__":
    main()
