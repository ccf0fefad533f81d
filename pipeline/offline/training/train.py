"""Training from a dataset to the registry: fit, search, calibrate, evaluate, write the card, register.

1 split      the time: fit and search, calibrate, evaluate, with gaps that nobody uses
2 fit        on normal data of the first part, parameters by time-series cross-validation
3 calibrate  the alarm threshold on the second, to the recipe's budget of false alarms
4 evaluate   on the third, beside the online learners alone and the live model
5 register   model, manifest and card; nothing is left behind where anything before failed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.offline import stability
from models.offline.threads import one_thread
from pipeline.offline.backends import SERIAL
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.times import Span
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.card import Subject, card
from pipeline.offline.training.evaluating import LIVE, NEW, Scorer
from pipeline.offline.training.fitting import calibrate, collect, fit, split_of
from pipeline.offline.training.registering import Origin, Trained, live_version, manifest_of, register
from pipeline.offline.training.sought import sought
from pipeline.offline.training.train_band import train_band
from pipeline.offline.training.train_priors import train_priors
from pipeline.offline.training.train_ranker import train_ranker
from pipeline.offline.training.worth import Terms, live_scorer, schema_of, worth
from pipeline.registry import artefact
from pipeline.registry.manifest import EVERY_SERVICE, Kind
from pipeline.registry.reference import reference_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.offline.backends import Workers
    from pipeline.offline.dataset.labels import LabelledWindow
    from pipeline.offline.training.recipe import Recipe
    from pipeline.registry.store import Store


def train(  # noqa: PLR0913  callers name them
    dataset: Dataset | Path | str,
    recipe: Recipe,
    store: Store,
    *,
    seed: int = 0,
    learners: Learners | None = None,
    windows: Sequence[LabelledWindow] = (),
    workers: Workers = SERIAL,
    report: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train the recipe on the dataset and register the model; `report` is told each step.

    `learners` are what it is compared with: as they run live, or with their defaults, no floors and no static rules.
    `windows` are labelled trouble beyond what the dataset has: nothing to learn from, and what the evaluation seeks.
    `workers` try the recipe's candidates, which changes how long it takes only.

    The same dataset, recipe and seed give the same version. Raises FileError where the data does not suffice,
    SettingsError where the recipe does not fit, ModelError where the registry cannot be used.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    recipe.check()
    if recipe.services != EVERY_SERVICE:
        dataset = dataset.concerning(recipe.services)
    compared = learners or Learners()
    with one_thread():
        if recipe.kind is Kind.RANKER:
            return train_ranker(dataset, recipe, store, seed, workers, report)
        if recipe.kind is Kind.BAND:
            return train_band(dataset, recipe, store, seed, windows, workers, report, learners=compared)
        if recipe.kind is Kind.PRIORS:
            plain = Blocks(dataset, recipe.signals, 0, seed, windows=windows)
            return train_priors(plain, recipe, store, seed, compared, workers, report)
        return _train_detector(dataset, recipe, store, seed, workers, report, learners=compared, windows=windows)


def _train_detector(  # noqa: PLR0913  as `train`
    dataset: Dataset,
    recipe: Recipe,
    store: Store,
    seed: int,
    workers: Workers,
    report: Callable[[str], None],
    *,
    learners: Learners,
    windows: Sequence[LabelledWindow],
) -> Trained:
    spans = split_of(dataset.span, recipe)
    seek = sought(dataset, spans["evaluate"], windows=windows)
    blocks = Blocks(dataset, recipe.signals, recipe.injected * len(spans), seed, seek, windows)
    schema = schema_of(blocks.signals)
    report(f"fitting on {spans['fit']}")
    rows = collect(blocks, spans["fit"], recipe.max_rows)
    fitted = fit(recipe, rows, seed, workers)
    report(f"calibrating on {spans['calibrate']}")
    threshold = calibrate(fitted.estimator, blocks, spans["calibrate"], recipe.false_alarm_budget)
    report(f"evaluating on {spans['evaluate']}")
    live = live_version(store, recipe.name)
    scorers = {NEW: Scorer(fitted.estimator, threshold), **live_scorer(store, recipe.name, schema)}
    judged = blocks.read(learners)
    terms = Terms(seek.source, recipe.false_alarm_budget, seed, stability.spread(rows.clean))
    found = worth(judged, spans["evaluate"], scorers, terms)
    data = artefact.dump(fitted.estimator)
    used = Span(spans["fit"].start, spans["evaluate"].end)
    origin = Origin(recipe, fitted.chosen, seed, dataset, used, live if LIVE in scorers else None)
    usual = stability.shares(stability.counted(rows.clean))
    reference = reference_of(recipe.kind, fitted.estimator, schema.names, rows.clean)
    manifest = manifest_of(origin, data, schema, found.metrics, threshold, usual, reference)
    subject = Subject(manifest, spans, dataset.fingerprint, found.metrics, fitted.tried)
    return register(store, dataset, manifest, data, card(subject, found.evaluation, found.intervals))
