"""`duri dataset`: what flowed through Kafka, or was recorded elsewhere, as Parquet files for offline work."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline import quantities as fmt
from pipeline.cli import prometheus as shared
from pipeline.cli.times import parse_duration, parse_moment
from pipeline.errors import DecodeError
from pipeline.offline.backends import Backend, Workers
from pipeline.offline.dataset.check import problems
from pipeline.offline.dataset.kafka import Options
from pipeline.offline.dataset.kafka import export as export_kafka
from pipeline.offline.dataset.manifest import Manifest, read_manifest
from pipeline.offline.dataset.prometheus import Reading, import_server
from pipeline.offline.dataset.recordings import import_files
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.tables import Table as Tables
from pipeline.records import from_ms
from pipeline.settings import load_settings
from pipeline.sources.csv_recording import parse_time
from pipeline.sources.recording import Naming
from pipeline.views.progress import work_progress
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from pipeline.offline.dataset.kafka import Told
    from pipeline.offline.dataset.times import Span
    from pipeline.settings import Settings

dataset = typer.Typer(
    help="Export what flowed, or recorded files, as Parquet; look at it, verify it.", no_args_is_help=True
)

Bootstrap = Annotated[str | None, typer.Option(help="host:port of the broker.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Out = Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder of the dataset, new or to add to.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the dataset.")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw away what an unfinished command has staged there.")]
Buckets = Annotated[int | None, typer.Option(min=1, max=10_000, help="Service buckets of a new dataset; left out, 16.")]


@dataset.command()
def export(  # noqa: PLR0913  each is an option of the command
    *,
    out: Out,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="ISO 8601, event time; left out, where the dataset ends."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Up to, not including; left out, all there is now.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Export what is left where Kafka no longer holds the beginning.")
    ] = False,
    restart: Restart = False,
    buckets: Buckets = None,
    backend: Annotated[
        Backend, typer.Option(help="Where partitions are read; workers elsewhere need --out at the same place.")
    ] = Backend.SERIAL,
    jobs: Annotated[int | None, typer.Option(min=1, help="How many at once; left out, the processors.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Scheduler of Dask, like tcp://host:8786, or head of Ray, like host:6379.")
    ] = None,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Copy samples, frames, anomalies, advice and control records of a range of event time from Kafka.

    An export that was stopped goes on when the command is repeated; until it is complete, the dataset is as it was.
    Repeated later without --from it appends what has come since.
    """
    request = Request(source="kafka", start=_moment(begin, "--from"), end=_moment(end, "--to"))
    if request.start is not None and request.end is not None and request.start >= request.end:
        raise typer.BadParameter(f"{end} is not after --from {begin}", param_hint="--to")
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    options = Options(restart, allow_missing, buckets, Workers(backend, jobs, address))
    manifest = asyncio.run(export_shown(settings, out, request, options))
    _say(out, manifest, as_json=as_json)


@dataset.command("from-csv")
def from_csv(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="CSV or Parquet, one series or long form.")],
    *,
    out: Out,
    name: Annotated[
        str | None, typer.Option(help="Metric name of files that hold one series; left out, by the file's name.")
    ] = None,
    service: Annotated[
        str | None, typer.Option(help="Service of files that hold one series; left out, the file's name.")
    ] = None,
    restart: Restart = False,
    buckets: Buckets = None,
    as_json: AsJson = False,
) -> None:
    """Add recorded samples: the files that `duri replay` and `duri backtest` read. All files, or none of them."""
    with work_progress(Console(stderr=True), len(files), "files") as report:
        manifest = import_files(out, files, Naming(name, service), restart=restart, buckets=buckets, report=report)
    _say(out, manifest, as_json=as_json)


@dataset.command("from-prometheus")
def from_prometheus(  # noqa: PLR0913  each is an option of the command
    *,
    url: shared.Url,
    out: Out,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="ISO 8601; left out, where the last reading of the same ended."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Up to, not including; left out, the server's present.")
    ] = None,
    match: shared.Match = None,
    delay: shared.Delay = "10s",
    token_file: shared.TokenFile = None,
    restart: Restart = False,
    buckets: Buckets = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Copy what a Prometheus server has stored of a range of time: its very samples, not resampled ones.

    Stopped, it goes on when the command is repeated; until it is complete, the dataset is as it was. Repeated later
    without --from it appends what has come since.
    """
    matches = match or []
    reader = shared.make_reader(load_settings(config), url, matches, token_file)
    request = Request(
        source="prometheus",
        start=_moment(begin, "--from"),
        end=_moment(end, "--to"),
        origins=(shared.source_name(url, matches), *sorted(matches)),
    )
    delay_ms = round(parse_duration(delay, "--delay") * 1000)
    options = Reading(restart=restart, buckets=buckets, delay_ms=delay_ms)
    with work_progress(Console(stderr=True), 0, "samples") as report:

        def tell(span: Span, reached: int, samples: int) -> None:
            report(reached - span.start, total=span.end - span.start, counted=samples)

        manifest = import_server(out, reader, request, options, tell)
    _say(out, manifest, as_json=as_json)


@dataset.command()
def describe(folder: Folder, *, as_json: AsJson = False) -> None:
    """Show what a dataset holds: tables, days, rows, and the offsets they come from."""
    manifest = read_manifest(folder)
    if as_json:
        typer.echo(json.dumps(_summary(folder, manifest)))
        return
    console = Console()
    console.print(_tables(folder, manifest))
    console.print(_exports(manifest))


@dataset.command()
def verify(folder: Folder, *, as_json: AsJson = False) -> None:
    """Compare every file with the manifest: size, SHA-256, rows, columns. Exit status 1 where anything differs."""
    manifest = read_manifest(folder)
    with work_progress(Console(stderr=True), sum(file.bytes for file in manifest.files), "bytes") as report:
        found = list(problems(folder, manifest, report))
    if as_json:
        typer.echo(json.dumps({"files": len(manifest.files), "problems": found}))
    elif found:
        for line in found:
            typer.echo(line)
    else:
        typer.echo(f"{folder}: {fmt.count(len(manifest.files), 'file')}, all as the manifest says")
    if found:
        raise typer.Exit(1)


def _moment(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except DecodeError:
        return parse_moment(text, round(time.time() * 1000), option)


async def export_shown(settings: Settings, out: Path, request: Request, options: Options) -> Manifest:
    """Export with a progress bar; see `pipeline.offline.dataset.kafka`."""
    with work_progress(Console(stderr=True), 0, "rows") as report:

        def tell(told: Told) -> None:
            report(told.offsets, total=told.total, counted=told.rows)

        return await export_kafka(settings, out, request, options, tell)


def _say(folder: Path, manifest: Manifest, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_summary(folder, manifest)))
        return
    last = manifest.exports[-1]
    rows = ", ".join(f"{fmt.compact(count)} {table}" for table, count in last.rows.items()) or "nothing new"
    left = f"; left out: {fmt.count(last.unreadable, 'row')} that could not be read" if last.unreadable else ""
    print_prose(f"{folder}: {rows} added{left}")


def _summary(folder: Path, manifest: Manifest) -> dict[str, object]:
    span = manifest.span()
    return {
        "folder": str(folder),
        "fingerprint": manifest.fingerprint,
        "schema_version": manifest.schema_version,
        "buckets": manifest.buckets,
        "from": from_ms(span[0]).isoformat() if span else None,
        "to": from_ms(span[1]).isoformat() if span else None,
        "rows": {table.value: manifest.rows(table) for table in Tables if manifest.rows(table)},
        "bytes": sum(file.bytes for file in manifest.files),
        "files": len(manifest.files),
        "exports": [one.model_dump(mode="json") for one in manifest.exports],
    }


def _tables(folder: Path, manifest: Manifest) -> Table:
    table = Table("table", title=str(folder), caption=f"fingerprint {manifest.fingerprint[:16]}")
    for column in ("rows", "files", "size", "days"):
        table.add_column(column, justify="right")
    table.add_column("from")
    table.add_column("to")
    for name in Tables:
        files = manifest.of(name)
        if files:
            days = len({file.day for file in files})
            size = fmt.octets(sum(file.bytes for file in files))
            ends = [_minute(min(file.first for file in files)), _minute(max(file.last for file in files))]
            table.add_row(name, fmt.compact(manifest.rows(name)), str(len(files)), size, str(days), *ends)
    return table


def _exports(manifest: Manifest) -> Table:
    table = Table("export", "source", "from", "to", "read")
    for number, one in enumerate(manifest.exports, start=1):
        read = [
            f"{part.topic}/{part.partition} {part.start}-{part.end}" for part in one.partitions if part.end > part.start
        ]
        ends = ["" if ms is None else _minute(ms) for ms in (one.start, one.end)]
        table.add_row(str(number), one.source, *ends, "\n".join(read or one.origins))
    return table


def _minute(ms: int) -> str:
    return f"{from_ms(ms):%Y-%m-%d %H:%M}"
