"""`duri backtest`: the three stages over recorded samples, without Kafka."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.offline.backtest import backtest as run_backtest
from pipeline.offline.backtest import load
from pipeline.settings import load_settings
from pipeline.views.progress import sample_progress


def backtest(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of CSV or Parquet files in long form.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for what would be published.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Run recorded samples through ingest, detect and advise: what would have been flagged and recommended.

    The long form has the columns timestamp, service, name, labels (JSON or k=v;k=v) and value; files with timestamp
    and value alone hold one series each. Writes anomalies, incidents, recommendations and outcomes as JSON lines, and
    summary.json.
    """
    settings = load_settings(config)
    recording = load(folder)
    with sample_progress(Console(stderr=True), len(recording)) as report:
        summary = run_backtest(recording, settings, output, report)
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        Console().print(_table(summary, output))


def _table(summary: dict[str, Any], output: Path) -> Table:
    table = Table(title=f"Backtest of {summary['from']} to {summary['to']}", caption=f"written to {output}")
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what in ("samples", "series", "missing_values", "anomalies", "incidents", "recommendations"):
        table.add_row(what.replace("_", " "), f"{summary[what]:,}")
    return table
