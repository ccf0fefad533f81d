"""Trained models as the shipped recipes make them, for the benchmarks: fitted on ordinary features."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.multioutput import MultiOutputRegressor

from models.offline import anomaly_features, band_features, features, priors
from models.online import warmth
from pipeline.configfile import shipped_config
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.train_band import QUANTILES
from pipeline.records import ModelMove, cloudevent_headers, from_ms
from pipeline.registry import artefact, package
from pipeline.registry.manifest import FeatureSchema, ModelManifest, Training
from pipeline.stage import LogRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

ESTIMATORS = {
    "forest": lambda seed: IsolationForest(n_estimators=200, max_samples=512, random_state=seed),
    "pca": lambda _: PCA(n_components=0.9),
}


def band(signals: Sequence[str], seed: int = 0) -> tuple[ModelManifest, bytes]:
    """A band over these signals, as large as the shipped recipe makes it, that never raises an alarm."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(20_000, len(band_features.NAMES)))
    rows[:, -1] = rng.integers(0, len(signals), len(rows))
    what = rows[:, 4:9].mean(axis=1) + rng.normal(size=len(rows))
    *_, (_, regressor) = load_recipe("band", shipped_config()).candidates(seed)
    found = MultiOutputRegressor(regressor)
    found.estimators_ = [
        clone(regressor).set_params(loss="quantile", quantile=quantile).fit(rows, what)
        for quantile in QUANTILES.values()
    ]
    return _version("band", found, FeatureSchema(version=band_features.VERSION, names=band_features.names_of(signals)))


def ranker(seed: int = 0) -> tuple[ModelManifest, bytes]:
    """A ranker as large as the shipped recipe makes it, that finds nothing quiet."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(5_000, len(anomaly_features.NAMES)))
    *_, (_, classifier) = load_recipe("ranker", shipped_config()).candidates(seed)
    estimator = clone(classifier).fit(rows, rows[:, 0] + rng.normal(size=len(rows)) > 0)
    schema = FeatureSchema(version=anomaly_features.VERSION, names=anomaly_features.NAMES)
    return _version("ranker", estimator, schema, seed, threshold=-1.0)


def population(signals: Sequence[str], seed: int = 0) -> tuple[ModelManifest, bytes]:
    """Priors of all these signals, which let values lie far apart."""
    usual = {"relative": 1.0, "below": 0.5, "above": 0.5, "spread": 0.1, "slow_spread": 0.1, "rest_spread": 0.1}
    table = np.zeros((priors.FEWEST, len(warmth.STATISTICS)))
    for name, value in {**usual, "spike_usual": 3.0, "spike_varies": 0.3, "moves": 1.0}.items():
        table[:, warmth.STATISTICS.index(name)] = value
    [(_, estimator)] = load_recipe("priors", shipped_config()).candidates(seed)
    fitted = {signal: clone(estimator).fit(np.zeros((len(table), 1)), table) for signal in signals}
    schema = FeatureSchema(version=priors.VERSION, names=priors.names_of(tuple(signals)))
    return _version("priors", fitted, schema, seed, threshold=None)


def model(kind: str, signals: Sequence[str], seed: int = 0) -> tuple[ModelManifest, bytes]:
    """A version over these signals that never raises an alarm: services that are copies of one would all do at once."""
    if kind == "band":
        return band(signals, seed)
    if kind == "ranker":
        return ranker(seed)
    if kind == "priors":
        return population(signals, seed)
    rows = np.random.default_rng(seed).normal(scale=features.USUAL, size=(5_000, len(signals)))
    estimator = ESTIMATORS[kind](seed).fit(rows)
    schema = FeatureSchema(version=features.VERSION, names=features.names_of(signals))
    return _version(kind, estimator, schema, seed)


def _version(
    kind: str, estimator: Any, schema: FeatureSchema, seed: int = 0, threshold: float | None = 1e9
) -> tuple[ModelManifest, bytes]:
    data = artefact.dump(estimator)
    manifest = ModelManifest(
        name=f"bench-{kind}",
        kind="detector" if kind in ESTIMATORS else kind,
        training=Training(recipe={}, seed=seed, dataset="0" * 64, start=0, end=seed),
        features=schema,
        libraries=artefact.libraries(),
        metrics={},
        threshold=threshold,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
    )
    return manifest, data


def promoted(one: tuple[ModelManifest, bytes]) -> list[LogRecord]:
    """The records that make it live, as they come in a partition's log."""
    manifest, _ = one
    move = ModelMove(id="bench", at=from_ms(0), model=manifest.name, number=1, action="promote", live=manifest.version)
    pieces = package.parts(manifest.name, manifest.version, package.pack(*one))
    records = [LogRecord("duri.samples", 0, 0, 0, None, piece.content, piece.headers()) for piece in pieces]
    headers = cloudevent_headers(move.event_type(), "/bench", move.id, 0)
    return [*records, LogRecord("duri.samples", 0, 0, 0, None, move.model_dump_json().encode(), headers)]
