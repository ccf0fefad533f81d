"""The command `duri`: one command a file, registered here."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer

from pipeline.errors import DuriError

app = typer.Typer(
    name="duri",
    help="Streaming anomaly detection over Kafka that ends in tuning recommendations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("duri-pipeline"))
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


def _register() -> None:
    """Add every command; imported late, so that `import pipeline.cli` stays cheap."""
    from pipeline.cli.backfill import backfill  # noqa: PLC0415
    from pipeline.cli.backtest import backtest  # noqa: PLC0415
    from pipeline.cli.bench import bench  # noqa: PLC0415
    from pipeline.cli.bridge import bridge  # noqa: PLC0415
    from pipeline.cli.broker import broker  # noqa: PLC0415
    from pipeline.cli.catalogue import catalogue  # noqa: PLC0415
    from pipeline.cli.collect import collect  # noqa: PLC0415
    from pipeline.cli.dataset import dataset  # noqa: PLC0415
    from pipeline.cli.deadletter import deadletter  # noqa: PLC0415
    from pipeline.cli.demo import demo  # noqa: PLC0415
    from pipeline.cli.doctor import doctor  # noqa: PLC0415
    from pipeline.cli.evaluate import evaluate  # noqa: PLC0415
    from pipeline.cli.feedback import feedback  # noqa: PLC0415
    from pipeline.cli.models import models  # noqa: PLC0415
    from pipeline.cli.replay import replay  # noqa: PLC0415
    from pipeline.cli.run import run  # noqa: PLC0415
    from pipeline.cli.schema import schema  # noqa: PLC0415
    from pipeline.cli.score import score  # noqa: PLC0415
    from pipeline.cli.topics import topics  # noqa: PLC0415
    from pipeline.cli.train import train  # noqa: PLC0415
    from pipeline.cli.watch import watch  # noqa: PLC0415

    for command in (demo, run, replay, watch, feedback, score, backtest, train, evaluate, doctor, schema, broker):
        app.command()(command)
    groups = {
        "bridge": bridge,
        "backfill": backfill,
        "collect": collect,
        "topics": topics,
        "deadletter": deadletter,
        "catalogue": catalogue,
        "bench": bench,
        "dataset": dataset,
        "models": models,
    }
    for name, group in groups.items():
        app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; our own errors become one clear message and their exit status."""
    _register()
    try:
        app()
    except DuriError as error:
        sys.stderr.write(f"duri: {error}\n")
        sys.exit(error.exit_status)
