"""`duri catalogue`: the tuning rules: list them, show one, check a folder of them."""

from __future__ import annotations

import difflib
import json
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Column, Table

from pipeline.advise.catalogue import load_catalogue
from pipeline.advise.topology import load_topology
from pipeline.settings import load_settings
from pipeline.signals.definitions import load_definitions

if TYPE_CHECKING:
    from pipeline.advise.rules import Rule

catalogue = typer.Typer(help="The tuning rules: list them, show one, check a folder of them.", no_args_is_help=True)

Config = Annotated[Path | None, typer.Option(help="Settings file; its config_dir holds the catalogue.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@catalogue.command(name="list")
def list_rules(*, config: Config = None, as_json: AsJson = False) -> None:
    """List the rules: what each finds and which knob it turns."""
    rules = _rules(config)
    if as_json:
        typer.echo(json.dumps([_brief(rule) for rule in rules]))
        return
    # The id is what `show` takes: it is never cut.
    ids = Column("rule", no_wrap=True, min_width=max(len(rule.id) for rule in rules))
    table = Table(ids, "finding", "turns", "category", "looks at", "prior", "risk")
    for rule in rules:
        knob = f"{rule.target.component}: {rule.change.parameter}"
        table.add_row(rule.id, rule.finding, knob, rule.category, rule.tier.value, f"{rule.prior:.2f}", rule.risk)
    Console().print(table)


@catalogue.command()
def show(
    rule: Annotated[str, typer.Argument(help="Id of the rule, as `duri catalogue list` prints it.")],
    *,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show a rule in full: conditions, formula, commands, risk, undo, verification."""
    rules = {known.id: known for known in _rules(config)}
    if rule not in rules:
        near = difflib.get_close_matches(rule, rules, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else "; see `duri catalogue list`"
        raise typer.BadParameter(f"no rule is called {rule!r}{hint}", param_hint="RULE")
    full = _full(rules[rule])
    text = (
        json.dumps(full) if as_json else yaml.safe_dump(full, sort_keys=False, allow_unicode=True, width=120).rstrip()
    )
    typer.echo(text)


@catalogue.command()
def check(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder of rule files; left out, the worker's own.")
    ] = None,
    *,
    config: Config = None,
) -> None:
    """Check rule files, and without DIR the service graph too; exit status 2 names file and line of each mistake."""
    folder = load_settings(config).config_dir
    found = load_catalogue(directory or folder / "catalogue", load_definitions(folder))
    typer.echo(f"{len(found.rules)} rules are in order")
    if directory is None:
        typer.echo(f"{len(load_topology(folder / 'topology.yaml').services)} services are in the topology")


def _rules(config: Path | None) -> list[Rule]:
    folder = load_settings(config).config_dir
    return [entry.rule for entry in load_catalogue(folder / "catalogue", load_definitions(folder)).rules]


def _brief(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "version": rule.version,
        "title": rule.title,
        "finding": rule.finding,
        "kind": rule.kind,
        "category": rule.category,
        "component": rule.target.component,
        "parameter": rule.change.parameter,
        "tier": rule.tier.value,
        "prior": rule.prior,
        "risk": rule.risk,
        "restart_required": rule.restart_required,
    }


def _full(rule: Rule) -> dict[str, Any]:
    return rule.model_dump(mode="json", by_alias=True, exclude_none=True)
