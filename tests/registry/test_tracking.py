"""Trained versions in MLflow, in a store of its own kind on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.cli.train import track_as_configured
from pipeline.errors import MissingExtraError, ModelError
from pipeline.registry import tracking
from pipeline.registry.store import Store
from pipeline.settings import load_settings
from tests.registry.trained import trained

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient


@pytest.fixture(params=["files", "database"])
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MlflowClient:
    """Of a store in files, and of one in a database as MLflow's own server has it."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow import MlflowClient  # noqa: PLC0415
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("MLflow is not installed: pip install -e '.[mlflow]'")
    # Without a server MLflow keeps what it is not told a place for in the working directory.
    monkeypatch.chdir(tmp_path)
    uri = (tmp_path / "mlflow").as_uri() if request.param == "files" else f"sqlite:///{tmp_path}/mlflow.db"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_a_version_is_a_run_and_a_registered_version(client: MlflowClient, tmp_path: Path) -> None:
    """Parameters, metrics and files of each; told again, nothing is added."""
    store = Store(str(tmp_path / "registry"))
    versions = [store.add(*trained(seed), {"card.md": b"# Card\n"}) for seed in (1, 2)]
    for version in [*versions, versions[0]]:
        tracking.track(client.tracking_uri, store, "services", version)
    registered = client.search_model_versions("name = 'services'")
    assert sorted(one.tags[tracking.TAG] for one in registered) == sorted(versions)
    for one in registered:
        run = client.get_run(one.run_id)
        manifest = store.manifest("services", one.tags[tracking.TAG])
        assert run.info.status == "FINISHED"
        assert run.data.metrics == manifest.metrics
        assert run.data.params["seed"] == str(manifest.training.seed)
        files = {file.path for file in client.list_artifacts(one.run_id)}
        assert files == {"model.skops", "manifest.json", "card.md"}
        assert one.source == run.info.artifact_uri


def test_an_mlflow_that_cannot_be_used(client: MlflowClient, tmp_path: Path) -> None:
    """A place that is a file: the version stays registered, and the message says so and what to do."""
    assert client
    store = Store(str(tmp_path / "registry"))
    version = store.add(*trained())
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=r"is registered, but MLflow at .*; repeat the command"):
        tracking.track((tmp_path / "file").as_uri(), store, "services", version)
    assert store.versions("services") == [version]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, with how to install it."""
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"duri-pipeline\[mlflow\]"):
        tracking.require_mlflow()


def test_settings_decide(client: MlflowClient, tmp_path: Path) -> None:
    """Without models.mlflow nothing is logged, with it a version is."""
    store = Store(str(tmp_path / "registry"))
    version = store.add(*trained())
    track_as_configured(load_settings(), store, "services", version)
    assert not client.search_model_versions("name = 'services'")
    settings = load_settings(overrides={"models.mlflow": client.tracking_uri})
    track_as_configured(settings, store, "services", version)
    assert len(client.search_model_versions("name = 'services'")) == 1
