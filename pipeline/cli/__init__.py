"""The command `duri`: one command a file, registered here."""

from __future__ import annotations

import sys

import typer

from pipeline.errors import DuriError

app = typer.Typer(
    name="duri",
    help="Streaming anomaly detection over Kafka that ends in tuning recommendations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _register() -> None:
    """Add every command; imported late, so that `duri --version` need not compile kernels."""
    from pipeline.cli.backtest import backtest  # noqa: PLC0415
    from pipeline.cli.broker import broker  # noqa: PLC0415
    from pipeline.cli.catalogue import catalogue  # noqa: PLC0415
    from pipeline.cli.deadletter import deadletter  # noqa: PLC0415
    from pipeline.cli.demo import demo  # noqa: PLC0415
    from pipeline.cli.doctor import doctor  # noqa: PLC0415
    from pipeline.cli.replay import replay  # noqa: PLC0415
    from pipeline.cli.run import run  # noqa: PLC0415
    from pipeline.cli.schema import schema  # noqa: PLC0415
    from pipeline.cli.score import score  # noqa: PLC0415
    from pipeline.cli.topics import topics  # noqa: PLC0415
    from pipeline.cli.watch import watch  # noqa: PLC0415

    for command in (demo, run, replay, watch, score, backtest, doctor, schema, broker):
        app.command()(command)
    for group, name in ((topics, "topics"), (deadletter, "deadletter"), (catalogue, "catalogue")):
        app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; our own errors become one clear message and their exit status."""
    _register()
    try:
        app()
    except DuriError as error:
        sys.stderr.write(f"duri: {error}\n")
        sys.exit(error.exit_status)
