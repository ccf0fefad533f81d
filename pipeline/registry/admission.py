"""Who may run: what a version must be before it is handed to a worker.

Its files are whole and its own (`pipeline.registry.artefact`), it is a detector over features that this program makes
of signals that this configuration has, or a band for such signals, or a ranker over what it makes of anomalies, it has
a threshold, and it scores finite numbers within the budget. Priors speak of signals that this configuration has, in
finite numbers.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.offline import anomaly_features, band_features, bands, features, priors
from models.offline.scoring import abnormality, likelihood
from pipeline.errors import ModelError
from pipeline.registry.artefact import load
from pipeline.registry.manifest import FeatureSchema, Kind
from pipeline.registry.package import pack

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipeline.registry.manifest import ModelManifest
    from pipeline.registry.store import Store

_KINDS: Final = (Kind.DETECTOR, Kind.RANKER, Kind.BAND, Kind.PRIORS)
_SERVICES: Final = 1000
_ROUNDS: Final = 5
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Terms:
    """On which a version is admitted: the signals there are, milliseconds for 1,000 services once, bytes packed."""

    signals: Collection[str]
    budget_ms: float
    max_bytes: int


def admit(store: Store, name: str, version: str, terms: Terms) -> bytes:
    """The packed version. Raises ModelError that says why it may not run."""
    place = f"{store.location}: {name} {version}"
    manifest, model = examine(store, name, version, terms)
    estimator = load(model, manifest, place)
    if manifest.kind == Kind.PRIORS:
        _check_priors(place, signals_of(manifest), estimator)
    elif manifest.kind == Kind.BAND:
        _check_band(place, len(signals_of(manifest)), estimator, terms.budget_ms)
    else:
        _check_scoring(place, manifest, estimator, terms.budget_ms)
    packed = pack(manifest, model)
    if len(packed) > terms.max_bytes:
        raise ModelError(
            f"{place}: is {len(packed):,} bytes, models.max_bytes allows {terms.max_bytes:,}; train a smaller one"
        )
    return packed


def examine(store: Store, name: str, version: str, terms: Terms) -> tuple[ModelManifest, bytes]:
    """Manifest and model file, of which all is well that shows without loading it (that takes seconds of imports).

    Raises ModelError that says why it may not run.
    """
    _check_shape(f"{store.location}: {name} {version}", store.manifest(name, version), terms)
    return store.whole(name, version)


def signals_of(manifest: ModelManifest) -> tuple[str, ...]:
    """The signals whose features a version expects, or whose priors it has; none for a ranker.

    Raises ModelError for features that this program does not make.
    """
    expected = manifest.features
    if manifest.kind == Kind.RANKER:
        if expected != FeatureSchema(version=anomaly_features.VERSION, names=anomaly_features.NAMES):
            raise ModelError(
                f"{manifest.name} {manifest.version}: expects other features of anomalies than this program makes; "
                "train it again"
            )
        return ()
    if manifest.kind == Kind.PRIORS:
        if expected.version != priors.VERSION:
            raise ModelError(
                f"{manifest.name} {manifest.version}: its priors are of version {expected.version}, this program uses "
                f"version {priors.VERSION}; train them again"
            )
        return priors.signals_of(expected.names)
    made: Any = band_features if manifest.kind == Kind.BAND else features
    if expected.version != made.VERSION:
        raise ModelError(
            f"{manifest.name} {manifest.version}: expects features of version {expected.version}, this program makes "
            f"version {made.VERSION}; train it again"
        )
    signals: tuple[str, ...] = made.signals_of(expected.names)
    if not signals or made.names_of(signals) != expected.names:
        raise ModelError(
            f"{manifest.name} {manifest.version}: its features are not those that this program makes of signals; "
            "train it again"
        )
    return signals


def _check_shape(place: str, manifest: ModelManifest, terms: Terms) -> None:
    if manifest.kind not in _KINDS:
        raise ModelError(f"{place}: is a {manifest.kind}; detect runs models of the kinds {', '.join(_KINDS)}")
    unknown = sorted(set(signals_of(manifest)) - set(terms.signals))
    if unknown:
        raise ModelError(
            f"{place}: expects the signals {', '.join(unknown)}, which signals.yaml does not have; train it again"
        )
    if manifest.kind != Kind.PRIORS and (manifest.threshold is None or not math.isfinite(manifest.threshold)):
        raise ModelError(f"{place}: has no alarm threshold; train it again")


def _check_priors(place: str, signals: tuple[str, ...], estimators: Any) -> None:
    try:
        found = priors.table(estimators, signals)
    except Exception as error:  # an estimator raises whatever it stumbles over
        raise ModelError(f"{place}: cannot tell its priors ({error!r}); train them again") from error
    if not np.isfinite(found).all():
        raise ModelError(f"{place}: its priors are not finite; train them again")


def _check_band(place: str, signals: int, estimator: Any, budget_ms: float) -> None:
    """A band is predicted once for all frames of a slot, so a slot is what its cost is shared out over."""
    table = probe(len(band_features.NAMES), _SERVICES * signals).reshape(_SERVICES, signals, -1)
    table[..., -1] = np.arange(signals)
    # A week ago is not always known.
    table[::2, :, band_features.NAMES.index("a_week_ago")] = np.nan
    seconds = []
    try:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            found = bands.ends(estimator, table)
            seconds.append(time.perf_counter() - started)
    except Exception as error:  # an estimator raises whatever it stumbles over
        raise ModelError(f"{place}: cannot tell the bands of {signals} signals ({error!r}); train it again") from error
    if found.shape != (*table.shape[:2], bands.ENDS) or not np.isfinite(found).all():
        raise ModelError(f"{place}: its bands are not three finite numbers for each signal; train it again")
    a_minute = 1000 * min(seconds) * _MINUTE_MS / band_features.SLOT_MS
    if a_minute > budget_ms:
        raise ModelError(
            f"{place}: takes {a_minute:.0f} ms a minute for the bands of {_SERVICES:,} services, models.budget_ms "
            f"allows {budget_ms:g}; train a smaller one"
        )


def _check_scoring(place: str, manifest: ModelManifest, estimator: Any, budget_ms: float) -> None:
    check_order(place, manifest.features.names, estimator)
    width, score_of = len(manifest.features.names), likelihood if manifest.kind == Kind.RANKER else abnormality
    rows = probe(width, _SERVICES)
    seconds = []
    try:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            score = score_of(estimator, rows)
            seconds.append(time.perf_counter() - started)
    except Exception as error:  # an estimator raises whatever it stumbles over
        raise ModelError(f"{place}: cannot score {width} features ({error!r}); train it again") from error
    if not np.isfinite(score).all():
        raise ModelError(f"{place}: scores numbers that are not finite; train it again")
    # The fastest round: a busy machine is not the model's fault.
    fastest = 1000 * min(seconds)
    if fastest > budget_ms:
        raise ModelError(
            f"{place}: takes {fastest:.0f} ms to score {_SERVICES:,} services, models.budget_ms allows "
            f"{budget_ms:g}; train a smaller one"
        )


def check_order(place: str, names: tuple[str, ...], estimator: Any) -> None:
    """Whether an estimator was fitted on these features in this order, as far as scikit-learn has kept their names.

    Raises ModelError.
    """
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None and tuple(fitted) != names:
        raise ModelError(
            f"{place}: was fitted on {', '.join(map(str, fitted[:5]))} …, its manifest says {', '.join(names[:5])} …: "
            "other features, or in another order; train it again"
        )


def probe(width: int, rows: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Ordinary features, float64[rows, width]: always the same."""
    found: np.ndarray[Any, np.dtype[np.float64]] = np.random.default_rng(0).normal(
        scale=features.USUAL, size=(rows, width)
    )
    return found
