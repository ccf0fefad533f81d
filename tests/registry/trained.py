"""Small trained models for the registry's tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler

from models.offline import band_features
from models.offline.features import USUAL, VERSION, names_of
from pipeline.registry import artefact
from pipeline.registry.manifest import FeatureSchema, ModelManifest, Training
from pipeline.registry.reference import reference_of
from tests.builders import START

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {
    "f1": 0.8,
    "false_alarms_per_service_day": 0.1,
    "false_alarm_budget": 0.2,
    "f1_over_live_low": 0.01,
    "f1_over_none_low": 0.02,
}
SHADOWED = {"shadow_hours": 30.0, "shadow_false_alarms_per_service_day": 0.1}


def trained(seed: int = 1, name: str = "services", **changes: Any) -> tuple[ModelManifest, bytes]:
    """A forest over two features, and its manifest."""
    rng = np.random.default_rng(seed)
    forest = IsolationForest(n_estimators=3, random_state=seed)
    rows = rng.normal(size=(64, 1))
    estimator = make_pipeline(RobustScaler(), forest).fit(rows)
    data = artefact.dump(estimator)
    features = names_of(("http.rps",))
    fields = {
        "name": name,
        "kind": "detector",
        "training": Training(recipe={"trees": 3}, seed=seed, dataset="d" * 64, start=START, end=START + seed),
        "features": FeatureSchema(version=VERSION, names=features),
        "reference": reference_of("detector", estimator, features, rows),
        "libraries": artefact.libraries(),
        "metrics": GOOD,
        "threshold": 0.5,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
    }
    return ModelManifest(**{**fields, **changes}), data


SIGNALS = ("http.latency.p95", "http.rps", "container.memory.bytes")


def detector(seed: int = 1, threshold: float = 0.6, **changes: Any) -> tuple[ModelManifest, bytes]:
    """A forest that a worker runs, over three signals of a service; scores from about 0.65 on are far away."""
    rng = np.random.default_rng(seed)
    forest = IsolationForest(n_estimators=20, random_state=seed)
    rows = rng.normal(scale=USUAL, size=(256, len(SIGNALS)))
    data = artefact.dump(forest.fit(rows))
    features = names_of(SIGNALS)
    return trained(
        seed,
        **{
            "features": FeatureSchema(version=VERSION, names=features),
            "reference": reference_of("detector", forest, features, rows),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
            "threshold": threshold,
            **changes,
        },
    )[0], data


def band(seed: int = 1, threshold: float = 8.0, **changes: Any) -> tuple[ModelManifest, bytes]:
    """Quantiles around what a signal was in the hour before, over three signals of a service."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(2000, len(band_features.NAMES)))
    what = rows[:, band_features.NAMES.index("mean_of_the_hour")] + 0.3 * rng.normal(size=len(rows))
    ends = [
        HistGradientBoostingRegressor(loss="quantile", quantile=quantile, max_iter=10, random_state=seed)
        for quantile in (0.01, 0.5, 0.99)
    ]
    found = MultiOutputRegressor(ends[1])
    found.estimators_ = [one.fit(rows, what) for one in ends]
    data = artefact.dump(found)
    fields = {
        "kind": "band",
        "features": FeatureSchema(version=band_features.VERSION, names=band_features.names_of(SIGNALS)),
        "reference": None,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "threshold": threshold,
    }
    return trained(seed, **{**fields, **changes})[0], data


def scrambled(seed: int = 1, **changes: Any) -> tuple[ModelManifest, bytes]:
    """The same, exchanged after its training for one that takes the features in another order; the names are right."""
    rng = np.random.default_rng(seed)
    forest = IsolationForest(n_estimators=20, random_state=seed)
    rows = rng.normal(scale=USUAL, size=(256, len(SIGNALS)))
    data = artefact.dump(forest.fit(rows[:, ::-1]))
    return detector(seed, sha256=hashlib.sha256(data).hexdigest(), size=len(data), **changes)[0], data


def write_by_hand(place: Path, manifest: ModelManifest, data: bytes) -> None:
    """Into the folder of a version, past everything that would refuse it."""
    place.mkdir(parents=True)
    (place / "model.skops").write_bytes(data)
    (place / "manifest.json").write_text(manifest.model_dump_json(indent=1))
