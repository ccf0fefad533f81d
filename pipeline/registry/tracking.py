"""MLflow beside the registry: a run and a registered version for each version that is trained. An extra (`mlflow`).

What may run is decided by the registry alone; MLflow is where people compare runs.
"""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from pipeline.registry.manifest import ModelManifest
    from pipeline.registry.store import Store

EXPERIMENT: Final = "duri"
TAG: Final = "duri.version"


def require_mlflow() -> None:
    """Fail early where MLflow is not installed. Raises MissingExtraError."""
    if find_spec("mlflow") is None:
        raise MissingExtraError(
            "models.mlflow needs MLflow, which is not installed: pip install 'duri-pipeline[mlflow]'"
        )


def track(uri: str, store: Store, name: str, version: str) -> None:
    """Log a registered version as a run of the experiment `duri`, its files as artifacts, and register it there.

    The same version again changes nothing. Raises MissingExtraError, and ModelError where MLflow does not take it.
    """
    require_mlflow()
    # It would tell its makers of every use.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient, MlflowException  # noqa: PLC0415  an extra, and slow to import

    try:
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        if not _is_registered(client, name, version):
            _register(client, store, name, version)
    except (MlflowException, OSError) as error:
        raise ModelError(
            f"{name} {version} is registered, but MLflow at {uri} does not take it ({error}); repeat the command, or "
            "leave models.mlflow out"
        ) from error


def _is_registered(client: Any, name: str, version: str) -> bool:
    return any(one.tags.get(TAG) == version for one in client.search_model_versions(f"name = '{name}'"))


def _register(client: Any, store: Store, name: str, version: str) -> None:
    manifest = store.manifest(name, version)
    known = client.get_experiment_by_name(EXPERIMENT)
    experiment = client.create_experiment(EXPERIMENT) if known is None else known.experiment_id
    run = client.create_run(experiment, run_name=f"{name} {version}", tags={TAG: version, "duri.model": name})
    for key, value in _parameters(manifest).items():
        client.log_param(run.info.run_id, key, value)
    for key, metric in manifest.metrics.items():
        client.log_metric(run.info.run_id, key, metric)
    with tempfile.TemporaryDirectory() as folder:
        for file, content in store.files(f"models/{name}/{version}"):
            path = Path(folder) / file
            path.write_bytes(content)
            client.log_artifact(run.info.run_id, str(path))
    client.set_terminated(run.info.run_id)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.create_model_version(name, run.info.artifact_uri, run.info.run_id, tags={TAG: version})


def _parameters(manifest: ModelManifest) -> dict[str, Any]:
    training = manifest.training
    chosen = training.recipe.get("chosen", {})
    return {
        "estimator": training.recipe.get("estimator", ""),
        **{f"chosen.{name}": value for name, value in chosen.items()},
        "seed": training.seed,
        "dataset": training.dataset,
        "features.version": manifest.features.version,
    }
