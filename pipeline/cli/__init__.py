"""The command `duri`: one command a file, registered here."""

from __future__ import annotations

import ast
import inspect
import logging
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pipeline.announcing import ANNOUNCE
from pipeline.errors import DuriError, MissingExtraError
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Sequence


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("duri-pipeline"))
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


COMMANDS: Final = (
    "demo",
    "run",
    "publish",
    "replay",
    "watch",
    "show",
    "feedback",
    "announce",
    "score",
    "backtest",
    "train",
    "evaluate",
    "retrain",
    "doctor",
    "schema",
    "broker",
    "bridge",
    "backfill",
    "collect",
    "topics",
    "deadletter",
    "catalogue",
    "bench",
    "dataset",
    "models",
)
"""Each is what its module of this package calls by its own name: a function, or a group of commands."""


def command_line(names: Sequence[str] = COMMANDS) -> typer.Typer:
    """Make the command `duri` with these commands. Raises MissingExtraError for an extra's that is not installed."""
    app = typer.Typer(
        name="duri",
        help="Streaming anomaly detection over Kafka that ends in tuning recommendations.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in names:
        command = getattr(import_module(f"pipeline.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command()(command)
    _add_extras(app)
    _let_helps_flow(app)
    return app


def _let_helps_flow(app: typer.Typer) -> None:
    """Let the paragraphs of all helps wrap where the terminal ends, and not where the source's lines do."""
    for command in app.registered_commands:
        text = command.help or inspect.getdoc(command.callback) or ""
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _let_helps_flow(group.typer_instance)


def _add_extras(app: typer.Typer) -> None:
    """Groups of other packages, such as the lab's; only the one that is asked for is imported."""
    for found in metadata.entry_points(group="duri.commands"):
        if sys.argv[1:2] != [found.name]:
            app.add_typer(typer.Typer(), name=found.name, help=_said_of(found.module))
            continue
        try:
            app.add_typer(found.load(), name=found.name)
        except ImportError as error:
            missing = f"duri {found.name} needs {error.name}, which is not installed"
            raise MissingExtraError(f"{missing}: pip install 'duri-pipeline[{found.name}]'") from error


def _said_of(module: str) -> str:
    """What the first line of a module says of its command, after the colon; it is not imported for that."""
    spec = find_spec(module)
    text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    said = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].partition(": ")[2]
    return said[:1].upper() + said[1:]


def main() -> None:
    """Run the command line; our own errors become one clear message and their exit status."""
    # To import all commands takes a second and more; only what lists them needs that.
    wanted = [name for name in sys.argv[1:2] if name in COMMANDS]
    # Where a command configures no logging, the client's every attempt would be printed beside our one message.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    if sys.stderr.isatty():
        ANNOUNCE.set(lambda text: print_prose(text, err=True))
    try:
        command_line(wanted or COMMANDS)()
    except DuriError as error:
        print_prose(f"duri: {error}", err=True)
        sys.exit(error.exit_status)
