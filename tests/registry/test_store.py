from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer

from pipeline.errors import ModelError
from pipeline.registry import artefact
from pipeline.registry.store import Store
from tests.registry.trained import trained

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A registry in a folder, and one in memory, as an object store is."""
    return Store(str(tmp_path / "registry") if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def test_a_version_is_found_again(store: Store) -> None:
    """Its manifest as it was, and an estimator that scores as the one that was trained."""
    manifest, data = trained()
    version = store.add(manifest, data, {"card.md": b"# card"})
    assert version == manifest.version
    assert store.names() == ["services"]
    assert store.manifest("services", version) == manifest
    x = np.random.default_rng(9).normal(size=(20, 1))
    expected = artefact.load(data, manifest, "here").score_samples(x)
    assert np.array_equal(store.estimator("services", version).score_samples(x), expected)
    assert store.verify("services", version) is None


def test_the_same_training_is_the_same_version(store: Store) -> None:
    """Registered twice it is there once; another seed is another version, listed by the end of its data."""
    versions = [store.add(*trained(seed)) for seed in (2, 1, 2)]
    assert versions[0] == versions[2]
    assert store.versions("services") == [versions[1], versions[0]]


def test_the_same_estimator_is_the_same_bytes_in_another_process() -> None:
    """A model file holds neither places in memory nor the time of day: forests, boosted trees, pipelines."""
    program = (
        "import hashlib, numpy as np\n"
        "from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest\n"
        "from sklearn.decomposition import PCA\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from pipeline.registry.artefact import dump\n"
        "x = np.random.default_rng(0).normal(size=(99, 3))\n"
        "models = (IsolationForest(n_estimators=2, random_state=1), make_pipeline(PCA(2, random_state=1)),\n"
        "          HistGradientBoostingRegressor(loss='quantile', quantile=0.9, max_iter=3, random_state=1))\n"
        "print([hashlib.sha256(dump(model.fit(x, x[:, 0]))).hexdigest() for model in models])\n"
    )
    answers = [
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]
    assert answers[0] == answers[1]
    assert len(answers[0]) > 3 * 64


def test_a_version_that_is_not_there(store: Store) -> None:
    """The message says what shows those that are."""
    with pytest.raises(ModelError, match="services 0123456789ab: there is no such version; `duri models list`"):
        store.estimator("services", "0123456789ab")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sha256": "0" * 64}, "SHA-256 is not the manifest's"),
        ({"size": 7}, "its manifest says 7: truncated"),
        ({"libraries": {"scikit-learn": "0.20.1"}}, r"trained with scikit-learn 0\.20\.1, here is"),
    ],
)
def test_a_model_that_is_not_its_manifests_is_not_registered(
    store: Store, changes: dict[str, object], says: str
) -> None:
    """Nothing of it is left."""
    manifest, data = trained(**changes)
    with pytest.raises(ModelError, match=says):
        store.add(manifest, data)
    assert store.names() == []


def test_types_outside_the_allow_list_are_refused(store: Store) -> None:
    """A transformer that calls a function of somebody's module: neither written nor registered nor loaded."""
    foreign = FunctionTransformer(func=uuid.uuid4)
    with pytest.raises(ModelError, match=r"uuid\.uuid4.*may not be loaded"):
        artefact.dump(foreign)
    with patch.object(artefact, "_foreign", return_value=[]):
        data = artefact.dump(foreign)
    manifest, _ = trained(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    with pytest.raises(ModelError, match=r"uuid\.uuid4, types outside the allow-list"):
        store.add(manifest, data)


def test_bytes_that_are_no_model_are_refused(store: Store) -> None:
    """A pickle, for instance: it is never opened."""
    data = b"\x80\x04K\x01."
    manifest, _ = trained(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    with pytest.raises(ModelError, match="not a model file in skops' format"):
        store.add(manifest, data)


class Killed(BaseException):
    """Stands for the end of the process."""


def test_half_a_version_is_none(tmp_path: Path) -> None:
    """Killed between model and manifest: no version is seen; registered again it is whole."""
    store = Store(str(tmp_path))
    manifest, data = trained()
    write, written = Store._write_over, []

    def dying(self: Store, place: str, content: bytes) -> None:
        if written:
            raise Killed
        written.append(place)
        write(self, place, content)

    with patch.object(Store, "_write_over", dying), pytest.raises(Killed):
        store.add(manifest, data)
    assert store.names() == []
    version = store.add(manifest, data)
    assert store.verify("services", version) is None


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """Place, reason and what to do; no version."""
    store = Store(str(tmp_path))
    with (
        patch.object(os, "fsync", side_effect=OSError(28, "No space left on device")),
        pytest.raises(ModelError, match=r"No space left on device.*nothing has changed"),
    ):
        store.add(*trained())
    assert store.names() == []
    assert not list(tmp_path.rglob("*.*.*"))


@pytest.mark.parametrize("damage", ["truncate", "alter", "remove", "manifest"])
def test_damage_is_found(tmp_path: Path, damage: str) -> None:
    """A model file that is cut, changed or gone, and a manifest that somebody edited, are named and not loaded."""
    store = Store(str(tmp_path))
    version = store.add(*trained())
    folder = tmp_path / "models" / "services" / version
    model = folder / "model.skops"
    content = model.read_bytes()
    if damage == "truncate":
        model.write_bytes(content[:-5])
    elif damage == "alter":
        model.write_bytes(content[:-5] + b"12345")
    elif damage == "remove":
        model.unlink()
    else:
        text = (folder / "manifest.json").read_text(encoding="utf-8")
        (folder / "manifest.json").write_text(text.replace('"threshold": 0.5', '"threshold": 0.1'), encoding="utf-8")
    problem = store.verify("services", version) if damage != "manifest" else None
    if problem is None:
        with pytest.raises(ModelError, match="altered; register it again"):
            store.manifest("services", version)
    else:
        assert version in problem
        with pytest.raises(ModelError):
            store.estimator("services", version)


def test_a_location_of_no_kind(tmp_path: Path) -> None:
    """An unknown scheme: what it is, and what to do."""
    with pytest.raises(ModelError, match=r"nosuch://x: no place for models"):
        Store("nosuch://x")
    assert not list(tmp_path.iterdir())
