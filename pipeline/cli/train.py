"""`duri train`: from a dataset and a recipe to a registered model with its card."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from pipeline.detect.configuration import load_detection
from pipeline.offline.backends import Backend, Workers
from pipeline.offline.dataset.labels import read_windows
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.training.blocks import Learners
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.train import train as run_training
from pipeline.registry.gate import F1, objections
from pipeline.registry.pointers import PointerLog
from pipeline.registry.store import Store
from pipeline.registry.tracking import track
from pipeline.settings import load_settings
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from pipeline.settings import Settings


def learners_of(settings: Settings) -> Learners:
    """Learners and static rules as detect runs them."""
    detection = load_detection(settings.config_dir, settings.detect, partitions=1)
    signals = detection.definitions.signals
    return Learners(
        detection.bank,
        {name: (signal.floor, signal.floor_share) for name, signal in signals.items()},
        detection.thresholds.rules,
        round(settings.detect.absent_after_s * 1000),
    )


def track_as_configured(settings: Settings, store: Store, name: str, version: str) -> None:
    """Log the version to MLflow too, where the settings name one. Raises MissingExtraError, ModelError."""
    if settings.models.mlflow is not None:
        track(settings.models.mlflow, store, name, version)


def train(  # noqa: PLR0913  each is an option of the command
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped recipe, a YAML file, or FILE.py:FUNCTION.")
    ],
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="A dataset with frames.")],
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="ISO 8601, event time; left out, the dataset's start.")
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Up to, not including: as if nothing had come since; left out, all."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same data, recipe and seed give the same model.")] = 0,
    windows: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Labelled trouble beyond the dataset's: start, end, service, signal, matters."
        ),
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Where candidates of a search are tried.")] = Backend.PROCESSES,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at once; left out, the processors.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Scheduler of Dask, like tcp://host:8786, or head of Ray, like host:6379.")
    ] = None,
    registry: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Folder or URL of the registry; left out, models.registry.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Train a model on a dataset, calibrate its threshold, evaluate it, and register it with its card.

    Nothing runs differently afterwards: `duri models promote` makes a version live, if the gate agrees.
    """
    settings = load_settings(config)
    store = Store(registry or settings.models.registry)
    console = Console(stderr=True)
    trained = run_training(
        Dataset(data, begin, end),
        load_recipe(recipe, settings.config_dir),
        store,
        seed=seed,
        learners=learners_of(settings),
        windows=[] if windows is None else read_windows(windows),
        workers=Workers(backend, jobs, address),
        report=lambda step: console.print(step, highlight=False),
    )
    track_as_configured(settings, store, trained.manifest.name, trained.version)
    manifest = trained.manifest
    live = PointerLog(store, manifest.name).pointers().live
    against = objections(manifest, store.manifest(manifest.name, live) if live else None, {}, settings.models.margin)
    if as_json:
        plain = {"name": manifest.name, "version": trained.version, "card": trained.card, "metrics": manifest.metrics}
        typer.echo(json.dumps({**plain, "gate": list(against)}))
        return
    print_prose(f"{manifest.name} {trained.version}: F1 {manifest.metrics[F1]:.2f}; card: {trained.card}")
    for reason in against:
        print_prose(f"  the gate: {reason}")
