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

import numpy as np

from models.offline import features, stability
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.card import card
from pipeline.offline.training.evaluating import Evaluation, Scorer, evaluate
from pipeline.offline.training.fitting import Fitted, calibrate, collect, fit
from pipeline.offline.training.recipe import plain
from pipeline.registry import artefact, gate
from pipeline.registry.manifest import FeatureSchema, ModelManifest, Training
from pipeline.registry.pointers import PointerLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from models.offline.bootstrap import Interval
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
    report: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Train the recipe on the dataset and register the model; `report` is told each step.

    `learners` are the online learners that it is compared with: as they run live, or with their defaults and no floors.

    The same dataset, recipe and seed give the same version. Raises FileError where the data does not suffice,
    SettingsError where the recipe does not fit, ModelError where the registry cannot be used.
    """
    dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
    spans = _split(dataset, recipe)
    blocks = Blocks(dataset, recipe.signals, recipe.injected * len(spans), seed)
    report(f"fitting on {spans['fit']}")
    rows = collect(blocks, spans["fit"], recipe.max_rows)
    fitted = fit(recipe, rows, seed)
    report(f"calibrating on {spans['calibrate']}")
    threshold = calibrate(fitted.estimator, blocks, spans["calibrate"], recipe.false_alarm_budget)
    report(f"evaluating on {spans['evaluate']}")
    scorers = {"new": Scorer(fitted.estimator, threshold), **_live(store, recipe.name, blocks)}
    labelled = any(block.trouble[block.within(spans["evaluate"])].any() for block in blocks)
    found = evaluate(blocks.read(learners or Learners()), spans["evaluate"], scorers, labelled=labelled)
    intervals: dict[str, Interval] = {who: found.over(who, seed) for who in ("none", "live") if who in found.counts}
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
        features=FeatureSchema(version=features.VERSION, names=features.names_of(blocks.signals)),
        libraries=artefact.libraries(),
        metrics=_metrics(recipe, found, intervals),
        threshold=threshold,
        usual=stability.shares(stability.counted(rows.clean)),
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )
    return _register(store, manifest, data, spans, found, intervals, fitted)


def _split(dataset: Dataset, recipe: Recipe) -> Mapping[str, Span]:
    rest = 1.0 - recipe.fit_share - recipe.calibrate_share
    parts = {"fit": recipe.fit_share, "calibrate": recipe.calibrate_share, "evaluate": rest}
    return dataset.split(parts, timedelta(seconds=recipe.gap_s))


def _live(store: Store, name: str, blocks: Blocks) -> dict[str, Scorer]:
    """The live version of this model, where there is one for the same features."""
    version = PointerLog(store, name).pointers().live
    if version is None:
        return {}
    manifest = store.manifest(name, version)
    same = manifest.features == FeatureSchema(version=features.VERSION, names=features.names_of(blocks.signals))
    if not same or manifest.threshold is None:
        return {}
    return {"live": Scorer(store.estimator(name, version), manifest.threshold)}


def _metrics(recipe: Recipe, found: Evaluation, intervals: Mapping[str, Interval]) -> dict[str, float]:
    total = found.total("new")
    names = {"none": gate.AGAINST_NONE, "live": gate.AGAINST_LIVE}
    metrics = {
        gate.F1: total.f1,
        "precision": total.precision,
        "recall": total.recall,
        "events": float(total.events),
        gate.FALSE_ALARMS: found.false_alarms / max(found.service_days, 1e-9),
        gate.BUDGET: recipe.false_alarm_budget,
        **{names[who]: interval.low for who, interval in intervals.items()},
    }
    if np.isfinite(total.delay):
        metrics["median_delay_s"] = total.delay * found.step_s
    return metrics


def _register(
    store: Store,
    manifest: ModelManifest,
    data: bytes,
    spans: Mapping[str, Span],
    found: Evaluation,
    intervals: Mapping[str, Interval],
    fitted: Fitted,
) -> Trained:
    extras = card(manifest, spans, found, intervals, fitted.tried)
    version = store.add(manifest, data, extras)
    return Trained(version, manifest, f"{store.location}/models/{manifest.name}/{version}/card.md")
