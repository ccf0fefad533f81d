"""A model is known again by what it scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest

from models.offline import band_features
from pipeline.errors import ModelError
from pipeline.registry.gate import objections
from pipeline.registry.manifest import FeatureSchema, ModelManifest, parse_manifest
from pipeline.registry.reference import check_reference, reference_of
from pipeline.registry.store import Store
from tests.installation import duri
from tests.registry.trained import (
    SHADOWED,
    SIGNALS,
    band,
    band_rows,
    detector,
    quantiles,
    scrambled,
    scrambled_band,
    trained,
    write_by_hand,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

WIDTH = 8
ROWS = np.random.default_rng(0).normal(size=(300, WIDTH)) @ np.random.default_rng(1).normal(size=(WIDTH, WIDTH))
NAMES = tuple(f"signal.{column}:apart" for column in range(WIDTH))
FOREST = IsolationForest(n_estimators=30, random_state=0).fit(ROWS)
PRINCIPAL = PCA(3).fit(ROWS)
BANDED = band_rows()
BAND = quantiles(*BANDED)


def of(estimator: object, **changes: object) -> ModelManifest:
    """A manifest of this estimator, changed after its training."""
    fields = {"features": FeatureSchema(version=1, names=NAMES)}
    return trained(reference=reference_of("detector", estimator, NAMES, ROWS), **{**fields, **changes})[0]


def test_a_model_that_is_as_it_was_passes() -> None:
    """Also after its manifest was written and read."""
    for estimator in (FOREST, PRINCIPAL):
        manifest = of(estimator)
        check_reference("here", parse_manifest("here", manifest.model_dump_json().encode()), estimator)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(WIDTH)).filter(lambda order: order != sorted(order)), st.sampled_from(["forest", "pca"]))
def test_any_other_order_is_told_by_the_scores(order: list[int], kind: str) -> None:
    """Whether the estimator's columns were exchanged after the training, or the manifest's names."""
    make = {"forest": lambda: IsolationForest(n_estimators=30, random_state=0), "pca": lambda: PCA(3)}[kind]
    right = {"forest": FOREST, "pca": PRINCIPAL}[kind]
    with pytest.raises(ModelError, match="another order"):
        check_reference("here", of(right), make().fit(ROWS[:, order]))
    names = tuple(NAMES[at] for at in order)
    with pytest.raises(ModelError, match="another order"):
        check_reference("here", of(right, features=FeatureSchema(version=1, names=names)), right)


def test_a_band_that_is_as_it_was_passes() -> None:
    """Also after its manifest was written and read, and where it was trained on less than a week."""
    rows = BANDED[0].copy()
    rows[:, band_features.NAMES.index("a_week_ago")] = np.nan
    young, _ = band(reference=reference_of("band", BAND, band()[0].features.names, rows))
    for manifest in (band()[0], young):
        check_reference("here", parse_manifest("here", manifest.model_dump_json().encode()), BAND)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(len(SIGNALS))).filter(lambda order: order != sorted(order)))
def test_a_band_whose_signals_are_in_another_order_is_told(order: list[int]) -> None:
    """Whether it was fitted on other numbers of theirs, or the manifest's names are in another order."""
    manifest, _ = band()
    names = tuple(manifest.features.names[at] for at in order)
    renamed = manifest.model_copy(update={"features": manifest.features.model_copy(update={"names": names})})
    with pytest.raises(ModelError, match="another order"):
        check_reference("here", renamed, BAND)
    rows = BANDED[0].copy()
    rows[:, -1] = np.array(order)[rows[:, -1].astype(int)]
    with pytest.raises(ModelError, match="another order"):
        check_reference("here", manifest, quantiles(rows, BANDED[1]))


def test_a_band_with_one_end_altered_is_told() -> None:
    """Each of the three counts."""
    manifest, _ = band()
    for end in range(3):
        other = quantiles(*BANDED)
        other.estimators_[end] = quantiles(BANDED[0], 1.1 * BANDED[1]).estimators_[end]
        with pytest.raises(ModelError, match="reference rows otherwise than in training"):
            check_reference("here", manifest, other)


def test_a_reference_of_other_features_is_refused() -> None:
    """A manifest that names other features than its reference has, and one whose rows have other scores."""
    manifest = of(FOREST, features=FeatureSchema(version=1, names=(*NAMES[:-1], "other:apart")))
    with pytest.raises(ModelError, match="reference scores are of other features"):
        check_reference("here", manifest, FOREST)
    reference = of(FOREST).reference
    assert reference is not None
    twice = reference.model_copy(update={"scores": 2 * reference.scores})
    with pytest.raises(ModelError, match="other scores than a detector gives"):
        check_reference("here", of(FOREST).model_copy(update={"reference": twice}), FOREST)


def test_half_a_reference_is_no_manifest() -> None:
    """As many values of each feature as scores."""
    text = of(FOREST).model_dump_json().replace('"scores":[', '"scores":[0.5,')
    with pytest.raises(ModelError, match="different numbers of rows"):
        parse_manifest("here", text.encode())


def test_no_number_is_no_reference() -> None:
    """Neither of the model, nor of the rows."""
    with pytest.raises(ModelError, match="gives no number"):
        reference_of("detector", FOREST, NAMES, np.full((9, WIDTH), np.nan))


@pytest.mark.parametrize("make", [scrambled, scrambled_band])
def test_verify_and_the_store_refuse_it(make: Callable[[], tuple[ModelManifest, bytes]], tmp_path: Path) -> None:
    """`duri models verify` names the version, what it scored and what to do; exit status 1."""
    manifest, data = make()
    write_by_hand(tmp_path / "models" / "services" / manifest.version, manifest, data)
    store = Store(str(tmp_path))
    store.add(*detector(2))
    result = duri("models", "verify", "--registry", str(tmp_path))
    assert result.returncode == 1
    [line] = result.stdout.strip().splitlines()
    assert manifest.version in line
    assert "another order than its manifest names them" in line
    assert line.endswith("train it again")


@pytest.mark.parametrize("make", [detector, band])
def test_a_version_without_one_runs_but_is_not_promoted(make: Callable[..., tuple[ModelManifest, bytes]]) -> None:
    """What was registered before keeps its version and may be reverted to; the gate lets no new one through."""
    manifest, _ = make(reference=None)
    assert "reference" not in manifest.model_dump()
    whatever: Any = IsolationForest(n_estimators=2).fit(ROWS[:, : len(SIGNALS)])
    check_reference("here", manifest, whatever)
    [reason] = objections(manifest, None, SHADOWED, 0.075)
    assert "no reference scores" in reason
