"""Training from a dataset to the registry: fit, search, calibrate, evaluate, write the card, register.

1 split      the time: fit and search, calibrate, evaluate, with gaps that nobody uses
2 fit        on normal data of the first part, parameters by time-series cross-validation
3 calibrate  the alarm threshold on the second, to the recipe's budget of false alarms
4 evaluate   on the third, beside the online learners alone and the live model
5 register   model, manifest and card; nothing is left behind where anything before failed
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.card import Subject, card
from pipeline.offline.training.evaluating import NEW, Scorer
from pipeline.offline.training.fitting import calibrate, collect, fit
from pipeline.offline.training.recipe import plain
from pipeline.offline.training.sought import sought
from pipeline.offline.training.worth import live_scorer, schema_of, worth
from pipeline.registry import artefact
from pipeline.registry.manifest import ModelManifest, Training

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pipeline.offline.dataset.labels import LabelledWindow
    from pipeline.offline.dataset.times import Span
    from pipeline.offline.training.recipe import Recipe
    from pipeline.registry.store import Store

KIND = "detector"


class Trained(NamedTuple):
    """A registered version, and what is known of it."""

    version: str
    manifest: ModelManifest
    card: str


def train(
    dataset: Dataset | Path | str,
    recipe: Recipe,
    store: Store,
    *,
    seed: int = 0,
    learners: Learners | None = None,
    windows: Sequence[LabelledWindow] = (),
    report: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train the recipe on the dataset and register the model; `report` is told each step.

    `learners` are what it is compared with: as they run live, or with their defaults, no floors and no static rules.
    `windows` are labelled trouble beyond what the dataset has: nothing to learn from, and what the evaluation seeks.

    The same dataset, recipe and seed give the same version. Raises FileError where the data does not suffice,
    SettingsError where the recipe does not fit, ModelError where the registry cannot be used.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    spans = split_of(dataset, recipe)
    seek = sought(dataset, spans["evaluate"], windows=windows)
    blocks = Blocks(dataset, recipe.signals, recipe.injected * len(spans), seed, seek)
    schema = schema_of(blocks.signals)
    report(f"fitting on {spans['fit']}")
    fitted = fit(recipe, collect(blocks, spans["fit"], recipe.max_rows), seed)
    report(f"calibrating on {spans['calibrate']}")
    threshold = calibrate(fitted.estimator, blocks, spans["calibrate"], recipe.false_alarm_budget)
    report(f"evaluating on {spans['evaluate']}")
    scorers = {NEW: Scorer(fitted.estimator, threshold), **live_scorer(store, recipe.name, schema)}
    budget = recipe.false_alarm_budget
    found = worth(blocks, spans["evaluate"], scorers, learners=learners or Learners(), budget=budget, seed=seed)
    data = artefact.dump(fitted.estimator)
    manifest = ModelManifest(
        name=recipe.name,
        kind=KIND,
        training=Training(
            recipe=plain(recipe, fitted.chosen),
            seed=seed,
            dataset=dataset.fingerprint,
            start=spans["fit"].start,
            end=spans["evaluate"].end,
        ),
        features=schema,
        libraries=artefact.libraries(),
        metrics=found.metrics,
        threshold=threshold,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )
    subject = Subject(manifest, spans, dataset.fingerprint, found.metrics, fitted.tried)
    version = store.add(manifest, data, card(subject, found.evaluation, found.intervals))
    return Trained(version, manifest, f"{store.location}/models/{manifest.name}/{version}/card.md")


def split_of(dataset: Dataset, recipe: Recipe) -> Mapping[str, Span]:
    """The parts of the dataset's time that a training by this recipe uses for what. Raises FileError."""
    rest = 1.0 - recipe.fit_share - recipe.calibrate_share
    parts = {"fit": recipe.fit_share, "calibrate": recipe.calibrate_share, "evaluate": rest}
    return dataset.split(parts, timedelta(seconds=recipe.gap_s))
