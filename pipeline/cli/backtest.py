"""`duri backtest`: the three stages over recorded or exported samples, without Kafka; and against other settings."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from pipeline import quantities as fmt
from pipeline.errors import FileError
from pipeline.offline.backends import Backend, Workers
from pipeline.offline.compare import Comparison, compare
from pipeline.offline.comparison_plots import plot_comparison
from pipeline.offline.dataset.manifest import MANIFEST, replace_file
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.tables import Table as Tables
from pipeline.offline.dataset_backtest import backtest as run_dataset
from pipeline.offline.recording_backtest import backtest as run_recording
from pipeline.offline.recording_backtest import load
from pipeline.records import from_ms, to_ms
from pipeline.registry.pointers import NAMED_VERSION
from pipeline.settings import Settings, load_settings
from pipeline.views.plots import require_plots
from pipeline.views.progress import sample_progress
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Callable

_AGAINST = "against"
_COMPARISON, _PLOT = "comparison.json", "comparison.png"
_NO_MODEL = "none"
_SHOWN = 20


def backtest(  # noqa: PLR0913  each is an option of the command
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A dataset, or CSV or Parquet files in long form.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for what would be published.")],
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME/VERSION", help="Trained model that is live; may be given for several models."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="SETTINGS|NAME/VERSION|none",
            help="Run with these settings, this model or no trained model too, and compare: what fires in one alone.",
        ),
    ] = None,
    registry: Annotated[
        str | None, typer.Option(metavar="PLACE", help="Folder or URL of the models; left out, models.registry.")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Where a dataset's services run.")] = Backend.PROCESSES,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at once; left out, the processors.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Scheduler of Dask, like tcp://host:8786, or head of Ray, like host:6379.")
    ] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Write frames.jsonl too, for `duri catalogue try`.")] = False,
    plots: Annotated[bool, typer.Option("--plots", help="With --against: draw comparison.png too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Run samples through ingest, detect and advise: what would have been flagged and recommended.

    DIR is a dataset of `duri dataset`, whose services run in parallel, or holds recordings. The long form has the
    columns timestamp, service, name, labels (JSON or k=v;k=v) and value; files with timestamp and value alone hold one
    series each.

    Writes anomalies, incidents, recommendations and outcomes as JSON lines, and summary.json; with --against also those
    of the other run below `against`, and comparison.json.
    """
    if plots:
        if against is None:
            raise typer.BadParameter("there is nothing to compare with; give --against too", param_hint="--plots")
        require_plots()
    new = _Run(load_settings(config, overrides={"models.registry": registry}), model or [])
    other = None if against is None else _other(new, against, registry)
    run = _runner(folder, Workers(backend, jobs, address), frames=frames)
    summary = run(new, output)
    _forget_comparison(output)
    if other is not None:
        run(other, output / _AGAINST)
        comparison = compare(output, output / _AGAINST)
        _write(output / _COMPARISON, json.dumps(comparison.summary(), indent=2) + "\n")
        if plots:
            until = to_ms(datetime.fromisoformat(summary["to"]))
            plot_comparison(output / _PLOT, comparison, until)
        summary = {**summary, "comparison": comparison.summary()}
    if as_json:
        typer.echo(json.dumps(summary))
        return
    console = Console()
    begin, end = (fmt.date_time(datetime.fromisoformat(summary[name])) for name in ("from", "to"))
    print_prose(f"Backtest of {begin} to {end}, written to {output}")
    console.print(_table(summary))
    if other is not None:
        console.print(_difference(comparison))
        console.print(_rules(comparison))


class _Run(NamedTuple):
    """With which settings, and which trained models live."""

    settings: Settings
    models: list[str]


def _other(new: _Run, against: str, registry: str | None) -> _Run:
    """What is compared with: the same with another model or with none, or other settings with the same models."""
    if against == _NO_MODEL:
        return new._replace(models=[])
    if NAMED_VERSION.fullmatch(against) and not Path(against).exists():
        return new._replace(models=[against])
    return new._replace(settings=load_settings(Path(against), overrides={"models.registry": registry}))


def _runner(folder: Path, workers: Workers, *, frames: bool) -> Callable[[_Run, Path], dict[str, Any]]:
    """Runs what the folder holds, with a progress bar."""
    console = Console(stderr=True)
    if (folder / MANIFEST).is_file():
        dataset = Dataset(folder)

        def run_all(run: _Run, out: Path) -> dict[str, Any]:
            with sample_progress(console, dataset.manifest.rows(Tables.SAMPLES)) as report:
                return run_dataset(
                    dataset, run.settings, out, workers=workers, models=run.models, frames=frames, report=report
                )

        return run_all
    recording = load(folder)

    def run_one(run: _Run, out: Path) -> dict[str, Any]:
        with sample_progress(console, len(recording)) as report:
            return run_recording(recording, run.settings, out, report, models=run.models, frames=frames)

    return run_one


def _forget_comparison(output: Path) -> None:
    """That of an earlier run says nothing of what lies here now."""
    for name in (_COMPARISON, _PLOT):
        try:
            (output / name).unlink(missing_ok=True)
        except OSError as error:
            raise FileError(
                f"{output / name}: cannot be removed ({error.strerror}); it is of an earlier run"
            ) from error


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text)
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}); free or grant what is missing") from error


def _table(summary: dict[str, Any]) -> Table:
    table = Table()
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what in ("samples", "series", "missing_values", "anomalies", "incidents", "recommendations"):
        if what in summary:
            table.add_row(what.replace("_", " "), f"{summary[what]:,}")
    return table


def _difference(comparison: Comparison) -> Table:
    table = Table("when", "service", "signal", "opened", "by", title="Against the other run")
    moved = [pair for pair in comparison.both if pair.earlier_s]
    rows = [("fires only now", fired) for fired in comparison.only_new]
    rows += [("no longer fires", fired) for fired in comparison.only_current]
    rows += [(_moved(pair.earlier_s), pair.new) for pair in moved]
    for what, fired in rows[:_SHOWN]:
        opened = f"{from_ms(fired.start):%m-%d %H:%M}"
        table.add_row(what, fired.service, fired.signal, opened, ", ".join(sorted(fired.by)))
    same = len(comparison.both) - len(moved)
    more = f"; {len(rows) - _SHOWN} more in {_COMPARISON}" if len(rows) > _SHOWN else ""
    table.caption = f"{fmt.count(same, 'anomaly')} as before{more}"
    return table


def _moved(earlier_s: float) -> str:
    return f"{fmt.seconds(abs(earlier_s))} {'earlier' if earlier_s > 0 else 'later'}"


def _rules(comparison: Comparison) -> Table:
    table = Table("fired by", title="How often each fires")
    table.add_column("now", justify="right")
    table.add_column("other run", justify="right")
    for name, (new, current) in comparison.rules.items():
        table.add_row(name, str(new), str(current))
    return table
