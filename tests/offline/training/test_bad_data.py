"""What a training says of data that it cannot learn from, and that it leaves nothing behind then."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.configfile import shipped_config
from pipeline.errors import FileError, ModelError
from pipeline.offline import train
from pipeline.offline.training.recipe import load_recipe
from pipeline.registry.store import Store
from tests.installation import duri
from tests.offline.training.stored import SERVICES, SIGNALS, stored
from tests.offline.training.test_ranker import RECIPE as RANKER
from tests.offline.training.test_ranker import answered_rows

if TYPE_CHECKING:
    from pathlib import Path

PCA = load_recipe("pca", shipped_config()).model_copy(update={"search": {}})
FOREST = load_recipe("isolation_forest", shipped_config()).model_copy(
    update={"search": {}, "parameters": {"n_estimators": 20}}
)
NAN = float("nan")
ALL_CPU = [(service, "cpu") for service in SERVICES]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "registry"))


@pytest.mark.parametrize("value", [5.0, NAN], ids=["constant", "nothing"])
def test_a_signal_that_never_moves_is_named_where_a_model_cannot_have_it(
    tmp_path: Path, store: Store, value: float
) -> None:
    """Principal components have no inverse then: how many features it is, and what to do; which is then done."""
    dataset = stored(tmp_path / "data", instead=dict.fromkeys(ALL_CPU, value))
    with pytest.raises(
        ModelError, match=r"PCA cannot be fitted .*1 of 3 features never change: name signals that move"
    ):
        train(dataset, PCA, store)
    assert store.names() == []
    assert train(dataset, PCA.model_copy(update={"signals": ["memory", "rps"]}), store).version


def test_where_nothing_moves_there_is_no_model(tmp_path: Path, store: Store) -> None:
    """All scores are the same."""
    still = {(service, name): 5.0 for service in SERVICES for name in SIGNALS}
    with pytest.raises(ModelError, match=r"the model gives 0.5 to every frame .* look at what it was fitted on"):
        train(stored(tmp_path / "data", instead=still), FOREST, store)
    assert store.names() == []


def test_a_service_without_values_changes_nothing(tmp_path: Path, store: Store) -> None:
    """The others are learned from, and it has no false alarms."""
    empty = {("shop", name): NAN for name in SIGNALS}
    metrics = train(stored(tmp_path / "data", instead=empty), PCA, store).manifest.metrics
    assert np.isfinite(list(metrics.values())).all()
    assert metrics["recall"] > 0


def test_answers_of_one_kind_teach_nothing(tmp_path: Path, store: Store) -> None:
    """Everything was rejected: there is nothing to tell apart."""
    rows = answered_rows()
    rows["feedback"] = [{**one, "verdict": "rejected"} for one in rows["feedback"]]
    with pytest.raises(FileError, match="answer more recommendations"):
        train(stored(tmp_path / "data", **rows), RANKER, store)
    assert store.names() == []


def test_a_truncated_file_ends_the_training(tmp_path: Path, store: Store) -> None:
    """Exit status 2, the file, and the command that shows what else is damaged."""
    dataset = stored(tmp_path / "data")
    file = dataset.folder / dataset.manifest.files[0].path
    file.write_bytes(file.read_bytes()[:-100])
    done = duri("train", "pca", "--data", dataset.folder, "--registry", tmp_path / "registry")
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert "duri dataset verify" in done.stderr
    assert store.names() == []


def test_a_killed_training_leaves_no_model(tmp_path: Path, store: Store) -> None:
    """Killed while it fits: the registry has no version, and none that is half there."""
    dataset = stored(tmp_path / "data")
    command = ["train", "isolation_forest", "--data", str(dataset.folder), "--registry", str(tmp_path / "registry")]
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline", *command, "--backend", "serial"], stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr
        assert "fitting on" in running.stderr.readline()
        running.kill()
        assert running.wait() == -signal.SIGKILL
    assert store.names() == []
    assert not list(tmp_path.glob("registry/models/*/*"))
