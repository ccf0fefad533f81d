"""Reference scores: whether a model still gives what it gave, to the same rows, when it was trained.

Names of features say what a manifest expects, not what an estimator does with its columns. So training keeps a few
rows, each value under its feature's name, and the scores that they had. Whoever loads the model asks for these scores
again, with the columns in the order of the manifest's names: an estimator that takes them in another order, one that
was exchanged, and a library that scores otherwise all give others.

A band predicts one signal at a time, which it knows by its number among the manifest's names. So a row of its reference
has, beside what it is predicted from, a 1 under the name of its signal and a 0 under the others; its scores are the
lower end, the middle and the upper end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.offline import band_features, bands
from models.offline.scoring import abnormality, likelihood
from pipeline.errors import ModelError
from pipeline.registry.manifest import Kind, Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.registry.manifest import ModelManifest

    Floats = npt.NDArray[np.float64]

REFERRED: Final = (Kind.DETECTOR, Kind.RANKER, Kind.BAND)
"""Kinds whose models score rows of features."""
_ROWS: Final = 16
"""Kept; of a band at least one of each signal."""
_SIGNAL: Final = band_features.NAMES.index("signal")
_FROM: Final = tuple(name for name in band_features.NAMES if name != "signal")
"""What a band is predicted from, but for the number of its signal."""
_DECIMALS: Final = 6
"""Of the features kept."""
_TOLERANCE: Final = 1e-6
"""Of the scores' range: sums in another order differ by a millionth of that."""


def reference_of(kind: str, estimator: Any, names: Sequence[str], rows: Floats) -> Reference:
    """What the model gives to some of these rows, float64[n, features]: from the least to the most abnormal, evenly.

    Rows of a band are those that it is predicted from (`models.offline.band_features`), and evenly taken from each
    signal by the middle; what one does not know of its past is 0 in it. Of other kinds rows with a NaN are left out.
    Raises ModelError where there is none else, or one gets no number.
    """
    ready = np.round(np.nan_to_num(rows) if kind == Kind.BAND else rows[np.isfinite(rows).all(axis=1)], _DECIMALS)
    scores = _scores(kind, estimator, ready) if len(ready) else np.zeros((0, 1))
    if not len(ready) or not np.isfinite(scores).all():
        raise ModelError("the model gives no number to the rows by which it would be known again; train it on others")
    kept = _kept(kind, ready, scores)
    columns = _by_name(kind, names, ready[kept])
    return Reference(
        features={name: tuple(column.tolist()) for name, column in columns.items()},
        scores=tuple(_scores(kind, estimator, ready[kept]).ravel().tolist()),
    )


def check_reference(place: str, manifest: ModelManifest, estimator: Any) -> None:
    """Whether it gives what it gave in training; nothing is asked of a version that has no reference.

    Raises ModelError.
    """
    reference, names = manifest.reference, manifest.features.names
    if reference is None:
        return
    if set(reference.features) != {*(_FROM if manifest.kind == Kind.BAND else ()), *names}:
        raise ModelError(f"{place}: its reference scores are of other features than its manifest names; train it again")
    rows = _in_order(manifest.kind, names, reference)
    then = np.array(reference.scores).reshape(len(rows), -1)
    try:
        now = _scores(manifest.kind, estimator, rows)
    except Exception as error:  # an estimator raises whatever it stumbles over
        raise ModelError(f"{place}: cannot score {len(names)} features ({error!r}); train it again") from error
    if now.shape != then.shape:
        raise ModelError(f"{place}: its reference has other scores than a {manifest.kind} gives; train it again")
    allowed = _TOLERANCE * np.maximum(np.ptp(then), np.abs(then))
    other = ~(np.abs(now - then) <= allowed)
    if other.any():
        row, score = np.argwhere(other)[0]
        raise ModelError(
            f"{place}: scores {other.any(axis=1).sum()} of {len(then)} reference rows otherwise than in training "
            f"({now[row, score]:.6g} instead of {then[row, score]:.6g}): it takes its features in another order than "
            "its manifest names them, or a library scores otherwise; train it again"
        )


def _kept(kind: str, rows: Floats, scores: Floats) -> npt.NDArray[np.int64]:
    """Which rows are kept, int64[k]."""
    if kind != Kind.BAND:
        return _evenly(np.argsort(scores[:, 0], kind="stable"), _ROWS)
    order = np.argsort(scores[:, bands.MIDDLE], kind="stable")
    signals = np.unique(rows[:, _SIGNAL])
    each = -(-_ROWS // len(signals))
    return np.concatenate([_evenly(order[rows[order, _SIGNAL] == one], each) for one in signals])


def _evenly(order: npt.NDArray[np.int64], number: int) -> npt.NDArray[np.int64]:
    return order[np.unique(np.linspace(0, len(order) - 1, number).astype(np.int64))]


def _by_name(kind: str, names: Sequence[str], rows: Floats) -> dict[str, Floats]:
    if kind != Kind.BAND:
        return dict(zip(names, rows.T, strict=True))
    past = {name: rows[:, band_features.NAMES.index(name)] for name in _FROM}
    return {**past, **{name: (rows[:, _SIGNAL] == at).astype(np.float64) for at, name in enumerate(names)}}


def _in_order(kind: str, names: Sequence[str], reference: Reference) -> Floats:
    """The rows as the estimator takes them, float64[k, features]."""
    found = np.array([reference.features[name] for name in names], dtype=np.float64).T
    if kind != Kind.BAND:
        return found
    past = np.array([reference.features[name] for name in _FROM], dtype=np.float64).T
    return np.insert(past, _SIGNAL, found.argmax(axis=1), axis=1)


def _scores(kind: str, estimator: Any, rows: Floats) -> Floats:
    """float64[n, scores of a row]."""
    if kind == Kind.BAND:
        return bands.ends(estimator, rows[:, None])[:, 0]
    return (likelihood(estimator, rows) if kind == Kind.RANKER else abnormality(estimator, rows))[:, None]
