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
SHADOWED = {"shadow_hours": 30.0, "shadow_service_days": 10.0, "shadow_lone_alarms": 1}


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


def band_rows(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """From what bands are predicted, float64[n, 10], and what was: around the hour before."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(2000, len(band_features.NAMES)))
    signal = rows[:, band_features.NAMES.index("signal")] = rng.integers(0, len(SIGNALS), len(rows))
    what = rows[:, band_features.NAMES.index("mean_of_the_hour")] + 0.3 * (1 + signal) * rng.normal(size=len(rows))
    return rows, what


def quantiles(rows: np.ndarray, what: np.ndarray, seed: int = 1) -> MultiOutputRegressor:
    """Ends of bands, as `duri train` makes them."""
    ends = [
        HistGradientBoostingRegressor(loss="quantile", quantile=quantile, max_iter=10, random_state=seed)
        for quantile in (0.01, 0.5, 0.99)
    ]
    found = MultiOutputRegressor(ends[1])
    found.estimators_ = [one.fit(rows, what) for one in ends]
    return found


def band(seed: int = 1, threshold: float = 8.0, **changes: Any) -> tuple[ModelManifest, bytes]:
    """Quantiles over three signals of a service."""
    rows, what = band_rows(seed)
    found = quantiles(rows, what, seed)
    data = artefact.dump(found)
    features = band_features.names_of(SIGNALS)
    fields = {
        "kind": "band",
        "features": FeatureSchema(version=band_features.VERSION, names=features),
        "reference": reference_of("band", found, features, rows),
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


def scrambled_band(seed: int = 1, **changes: Any) -> tuple[ModelManifest, bytes]:
    """A band, exchanged after its training for one that takes an hour's mean for what was an hour ago."""
    rows, what = band_rows(seed)
    recent = [band_features.NAMES.index(name) for name in ("an_hour_ago", "mean_of_the_hour")]
    rows[:, recent] = rows[:, recent[::-1]]
    data = artefact.dump(quantiles(rows, what, seed))
    return band(seed, sha256=hashlib.sha256(data).hexdigest(), size=len(data), **changes)[0], data


def write_by_hand(place: Path, manifest: ModelManifest, data: bytes) -> None:
    """Into the folder of a version, past everything that would refuse it."""
    place.mkdir(parents=True)
    (place / "model.skops").write_bytes(data)
    (place / "manifest.json").write_text(manifest.model_dump_json(indent=1))
