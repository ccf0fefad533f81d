"""`duri bench`: how good the learners are, on labelled and on synthetic series."""

from __future__ import annotations

import typer

from pipeline.cli.bench.events import events
from pipeline.cli.bench.nab import nab
from pipeline.cli.bench.synthetic import synthetic

bench = typer.Typer(
    no_args_is_help=True, help="Judge the learners, with their defaults, on labelled and on synthetic series."
)
for _command in (nab, events, synthetic):
    bench.command()(_command)
