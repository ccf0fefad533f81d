"""`duri models`: which trained models there are, what is known of each, and which of them runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli.model_moves import promote, revert, shadow, withdraw
from pipeline.cli.model_options import AsJson, Config, Name, Registry, Version, known, store_at
from pipeline.errors import ModelError
from pipeline.records import from_ms
from pipeline.registry.pointers import Move, PointerLog
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from pipeline.registry.manifest import ModelManifest

_THE_FIRST = (
    "`duri train RECIPE --data DIR` makes the first (RECIPE: pca, for instance) from a dataset, and "
    "`duri dataset export --from 7d --out DIR` the dataset"
)

models = typer.Typer(help="List, compare and verify trained models; say which one runs.", no_args_is_help=True)


@models.command("list")
def list_models(*, as_json: AsJson = False, registry: Registry = None, config: Config = None) -> None:
    """Show every version of every model, the newest last, and which is live, in the shadow, or the previous one."""
    store = store_at(registry, config)
    rows = []
    for name in store.names():
        pointers = PointerLog(store, name).pointers()
        for version in store.versions(name):
            rows.append((store.manifest(name, version), pointers.holds(version)))  # noqa: PERF401  two loops
    if as_json:
        typer.echo(json.dumps([{**_short(manifest), "stages": stages} for manifest, stages in rows]))
    elif rows:
        Console().print(_table(rows))
    else:
        print_prose(f"{store.location} holds no models yet; {_THE_FIRST}")


@models.command()
def show(
    name: Name,
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="Left out: the pointers' moves.")] = None,
    *,
    as_json: AsJson = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Show what is known of a version; without one, who moved the model's pointers when and why."""
    store = store_at(registry, config)
    if version is not None:
        plain = {"version": version, **store.manifest(name, version).model_dump(mode="json")}
        typer.echo(json.dumps(plain, indent=None if as_json else 2))
        return
    moves = PointerLog(store, known(store, name)).moves()
    if as_json:
        typer.echo(json.dumps([move.model_dump(mode="json") for move in moves]))
    elif moves:
        Console().print(_moves(moves))
    else:
        print_prose(f"{name}: no version was ever live; `duri models promote {name} VERSION` makes one so")


@models.command()
def diff(
    name: Name,
    before: Version,
    after: Version,
    *,
    as_json: AsJson = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Show in what two versions differ: recipe, data, features, libraries, metrics."""
    store = store_at(registry, config)
    old, new = (
        # Its rows are those of its own training: they always differ, and say nothing to people.
        _flat(store.manifest(name, one).model_dump(mode="json", exclude={"reference"}))
        for one in (before, after)
    )
    differ = {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
    if as_json:
        typer.echo(json.dumps({key: {"before": a, "after": b} for key, (a, b) in differ.items()}))
        return
    table = Table("what", before, after)
    for key, values in differ.items():
        table.add_row(key, *("" if value is None else str(value) for value in values))
    Console().print(table)


@models.command()
def verify(
    name: Annotated[str | None, typer.Argument(metavar="MODEL", help="Left out: all.")] = None,
    *,
    as_json: AsJson = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Load every version as a worker would, and check the log of moves. Exit status 1 where anything is wrong."""
    store = store_at(registry, config)
    problems: list[str] = []
    checked = 0
    for one in [name] if name else store.names():
        versions = store.versions(known(store, one))
        checked += len(versions)
        problems += [problem for version in versions if (problem := store.verify(one, version))]
        try:
            PointerLog(store, one).moves()
        except ModelError as error:
            problems.append(str(error))
    if as_json:
        typer.echo(json.dumps({"versions": checked, "problems": problems}))
    elif checked or problems:
        typer.echo("\n".join(problems) or f"{store.location}: {checked} versions, all as their manifests say")
    else:
        print_prose(f"{store.location} holds no models yet; {_THE_FIRST}")
    if problems:
        raise typer.Exit(1)


for move in (shadow, withdraw, promote, revert):
    models.command()(move)


@models.command()
def prune(
    name: Name,
    *,
    keep: Annotated[int, typer.Option(min=0, help="Newest versions to keep.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would go.")] = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Remove old versions; those that a pointer holds stay, however old, and so does the log of moves."""
    store = store_at(registry, config)
    pointers = PointerLog(store, name).pointers()
    versions = store.versions(known(store, name))
    kept = {*versions[len(versions) - min(keep, len(versions)) :], *(one for one in versions if pointers.holds(one))}
    for version in versions:
        if version not in kept:
            if not dry_run:
                store.remove(name, version)
            typer.echo(f"{name} {version} {'would be ' if dry_run else ''}removed")


def _short(manifest: ModelManifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "version": manifest.version,
        "kind": manifest.kind,
        "dataset": manifest.training.dataset,
        "trained_to": from_ms(manifest.training.end).isoformat(),
        "metrics": manifest.metrics,
        "size": manifest.size,
    }


def _table(rows: list[tuple[ModelManifest, list[str]]]) -> Table:
    table = Table("model", "version", "kind", "trained to", "F1", "stage")
    for manifest, stages in rows:
        f1 = manifest.metrics.get("f1")
        table.add_row(
            manifest.name,
            manifest.version,
            manifest.kind,
            f"{from_ms(manifest.training.end):%Y-%m-%d %H:%M}",
            "" if f1 is None else f"{f1:.2f}",
            ", ".join(stages),
        )
    return table


def _moves(moves: list[Move]) -> Table:
    table = Table("move", "when", "who", "what", "version", "why")
    for move in moves:
        why = f"{move.why} (forced against: {'; '.join(move.gate)})" if move.forced else move.why
        table.add_row(
            str(move.number), f"{move.when:%Y-%m-%d %H:%M}", move.who, move.action, move.version or "none", why
        )
    return table


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        name: inner
        for key, part in value.items()
        for name, inner in _flat(part, f"{prefix}.{key}" if prefix else key).items()
    }
