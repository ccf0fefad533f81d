"""Reference scores: whether a model still gives what it gave, to the same rows, when it was trained.

Names of features say what a manifest expects, not what an estimator does with its columns. So training keeps a few
rows, each value under its feature's name, and the scores that they had. Whoever loads the model asks for these scores
again, with the columns in the order of the manifest's names: an estimator that takes them in another order, one that
was exchanged, and a library that scores otherwise all give others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.offline.scoring import abnormality, likelihood
from pipeline.errors import ModelError
from pipeline.registry.manifest import Kind, Reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from pipeline.registry.manifest import ModelManifest

    Floats = npt.NDArray[np.float64]

REFERRED: Final = (Kind.DETECTOR, Kind.RANKER)
"""Kinds whose models score rows of features."""
_ROWS: Final = 16
_DECIMALS: Final = 6
"""Of the features kept."""
_TOLERANCE: Final = 1e-6
"""Of the scores' range: sums in another order differ by a millionth of that."""


def reference_of(kind: str, estimator: Any, names: Sequence[str], rows: Floats) -> Reference:
    """What the model gives to some of these rows, float64[n, features]: from the least to the most abnormal, evenly.

    Rows with a NaN are left out. Raises ModelError where there is none else, or one gets no number.
    """
    ready = np.round(rows[np.isfinite(rows).all(axis=1)], _DECIMALS)
    scores = _scores(kind, estimator, ready) if len(ready) else np.zeros(0)
    if not len(ready) or not np.isfinite(scores).all():
        raise ModelError("the model gives no number to the rows by which it would be known again; train it on others")
    order = np.argsort(scores, kind="stable")
    kept = order[np.unique(np.linspace(0, len(order) - 1, _ROWS).astype(np.int64))]
    features = {name: tuple(column) for name, column in zip(names, ready[kept].T.tolist(), strict=True)}
    return Reference(features=features, scores=tuple(_scores(kind, estimator, ready[kept]).tolist()))


def check_reference(place: str, manifest: ModelManifest, estimator: Any) -> None:
    """Whether it gives what it gave in training; nothing is asked of a version that has no reference.

    Raises ModelError.
    """
    reference, names = manifest.reference, manifest.features.names
    if reference is None:
        return
    if sorted(reference.features) != sorted(names):
        raise ModelError(f"{place}: its reference scores are of other features than its manifest names; train it again")
    then = np.array(reference.scores)
    rows = np.array([reference.features[name] for name in names], dtype=np.float64).T
    try:
        now = _scores(manifest.kind, estimator, rows)
    except Exception as error:  # an estimator raises whatever it stumbles over
        raise ModelError(f"{place}: cannot score {len(names)} features ({error!r}); train it again") from error
    allowed = _TOLERANCE * np.maximum(np.ptp(then), np.abs(then))
    other = np.flatnonzero(~(np.abs(now - then) <= allowed))
    if len(other):
        at = int(other[0])
        raise ModelError(
            f"{place}: scores {len(other)} of {len(then)} reference rows otherwise than in training ({now[at]:.6g} "
            f"instead of {then[at]:.6g}): it takes its features in another order than its manifest names them, or a "
            "library scores otherwise; train it again"
        )


def _scores(kind: str, estimator: Any, rows: Floats) -> Floats:
    return likelihood(estimator, rows) if kind == Kind.RANKER else abnormality(estimator, rows)
