"""`duri backtest`: the three stages over recorded or exported samples, without Kafka; and against other settings."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.offline.backends import Backend, Workers
from pipeline.offline.compare import Comparison, compare
from pipeline.offline.dataset.manifest import MANIFEST, replace_file
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.tables import Table as Tables
from pipeline.offline.dataset_backtest import backtest as run_dataset
from pipeline.offline.recording_backtest import backtest as run_recording
from pipeline.offline.recording_backtest import load
from pipeline.records import from_ms
from pipeline.settings import Settings, load_settings
from pipeline.views import format as fmt
from pipeline.views.progress import sample_progress

if TYPE_CHECKING:
    from collections.abc import Callable

_AGAINST = "against"
_SHOWN = 20


def backtest(  # noqa: PLR0913  each is an option of the command
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset, or CSV or Parquet files in long form.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for what would be published.")],
    against: Annotated[
        Path | None,
        typer.Option(metavar="SETTINGS", help="Run with these settings too, and compare: what fires in one alone."),
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Where a dataset's services run.")] = Backend.PROCESSES,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at once; left out, the processors.")] = None,
    address: Annotated[str | None, typer.Option(help="Scheduler of Dask, like tcp://host:8786.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Run samples through ingest, detect and advise: what would have been flagged and recommended.

    DIR is a dataset of `duri dataset`, whose services run in parallel, or holds recordings. The long form has the
    columns timestamp, service, name, labels (JSON or k=v;k=v) and value; files with timestamp and value alone hold one
    series each. Writes anomalies, incidents, recommendations and outcomes as JSON lines, and summary.json; with
    --against also those of the other settings below `against`, and comparison.json.
    """
    settings = load_settings(config)
    other = None if against is None else load_settings(against)
    run = _runner(folder, Workers(backend, jobs, address))
    summary = run(settings, output)
    if other is not None:
        run(other, output / _AGAINST)
        comparison = compare(output, output / _AGAINST)
        replace_file(output / "comparison.json", json.dumps(comparison.summary(), indent=2) + "\n")
        summary = {**summary, "comparison": comparison.summary()}
    if as_json:
        typer.echo(json.dumps(summary))
        return
    console = Console()
    console.print(_table(summary, output))
    if other is not None:
        console.print(_difference(comparison))
        console.print(_rules(comparison))


def _runner(folder: Path, workers: Workers) -> Callable[[Settings, Path], dict[str, Any]]:
    """Runs what the folder holds, with a progress bar."""
    console = Console(stderr=True)
    if (folder / MANIFEST).is_file():
        dataset = Dataset(folder)

        def run_all(settings: Settings, out: Path) -> dict[str, Any]:
            with sample_progress(console, dataset.manifest.rows(Tables.SAMPLES)) as report:
                return run_dataset(dataset, settings, out, workers=workers, report=report)

        return run_all
    recording = load(folder)

    def run(settings: Settings, out: Path) -> dict[str, Any]:
        with sample_progress(console, len(recording)) as report:
            return run_recording(recording, settings, out, report)

    return run


def _table(summary: dict[str, Any], output: Path) -> Table:
    table = Table(title=f"Backtest of {summary['from']} to {summary['to']}", caption=f"written to {output}")
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what in ("samples", "series", "missing_values", "anomalies", "incidents", "recommendations"):
        if what in summary:
            table.add_row(what.replace("_", " "), f"{summary[what]:,}")
    return table


def _difference(comparison: Comparison) -> Table:
    table = Table("when", "service", "signal", "opened", "by", title="Against the other settings")
    moved = [pair for pair in comparison.both if pair.earlier_s]
    rows = [("fires only now", fired) for fired in comparison.only_new]
    rows += [("no longer fires", fired) for fired in comparison.only_current]
    rows += [(_moved(pair.earlier_s), pair.new) for pair in moved]
    for what, fired in rows[:_SHOWN]:
        opened = f"{from_ms(fired.start):%m-%d %H:%M}"
        table.add_row(what, fired.service, fired.signal, opened, ", ".join(sorted(fired.by)))
    same = len(comparison.both) - len(moved)
    more = f"; {len(rows) - _SHOWN} more in comparison.json" if len(rows) > _SHOWN else ""
    table.caption = f"{fmt.count(same, 'anomaly')} as before{more}"
    return table


def _moved(earlier_s: float) -> str:
    return f"{fmt.seconds(abs(earlier_s))} {'earlier' if earlier_s > 0 else 'later'}"


def _rules(comparison: Comparison) -> Table:
    table = Table("fired by", title="How often each fires")
    table.add_column("now", justify="right")
    table.add_column("other settings", justify="right")
    for name, (new, current) in comparison.rules.items():
        table.add_row(name, str(new), str(current))
    return table
