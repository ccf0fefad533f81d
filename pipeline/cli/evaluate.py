"""`duri evaluate`: what a registered model is worth on a dataset, as a model card."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer
from rich.console import Console

from pipeline.cli.train import learners_of
from pipeline.errors import FileError, ModelError
from pipeline.offline.dataset.labels import read_windows
from pipeline.offline.dataset.manifest import replace_file
from pipeline.offline.training.registered import Question
from pipeline.offline.training.registered import evaluate as run_evaluation
from pipeline.offline.training.sought import Source  # noqa: TC001  # typer reads the annotations
from pipeline.registry.store import Store
from pipeline.settings import load_settings
from pipeline.views.prose import print_prose


def evaluate(  # noqa: PLR0913  each is an option of the command
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model in the registry.")],
    version: Annotated[str | None, typer.Argument(help="Its version; left out, the newest.")] = None,
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="A dataset with frames.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder for the card and its plots.")],
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Left out, where what it learned from ends.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Left out, the dataset's end.")] = None,
    events: Annotated[
        Source | None,
        typer.Option(help="What is to be found; left out, the windows, else answers, else injected anomalies."),
    ] = None,
    windows: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Labelled windows: start, end, service, signal, matters.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is injected and of the intervals.")] = 0,
    registry: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Folder or URL of the registry; left out, models.registry.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Judge a model beside the live one and beside none: what it finds, how soon, and what it raises for nothing.

    Writes card.md with its plots, and card.json. Nothing runs differently afterwards.
    """
    settings = load_settings(config)
    store = Store(registry or settings.models.registry)
    labelled = [] if windows is None else read_windows(windows)
    question = Question(name, version or _newest(store, name), begin, end, events, labelled, seed)
    console = Console(stderr=True)
    found = run_evaluation(
        data, store, question, learners=learners_of(settings), report=lambda step: console.print(step, highlight=False)
    )
    _write(out, found.card)
    card = out / "card.md"
    if as_json:
        plain = {"name": name, "version": question.version, "card": str(card), "metrics": found.metrics}
        typer.echo(json.dumps(plain))
        return
    print_prose(f"{name} {question.version}: F1 {found.metrics['f1']:.2f}; card: {card}")


def _newest(store: Store, name: str) -> str:
    versions = store.versions(name)
    if not versions:
        raise ModelError(f"{store.location}: has no model {name!r}; `duri models list` shows those there are")
    return versions[-1]


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            replace_file(folder / name, content)
    except OSError as error:
        raise FileError(f"{folder}: the card cannot be written ({error.strerror}); choose another --out") from error
