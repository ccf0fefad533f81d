"""`duri catalogue`: the tuning rules: list, show, check, try them, and what came of them."""

from __future__ import annotations

import asyncio
import difflib
import json
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from pipeline import quantities as fmt
from pipeline.advise.incidents.topology import load_topology
from pipeline.advise.rules.catalogue import load_catalogue, locate
from pipeline.advise.rules.needs import needs
from pipeline.advise.ruletests import run_tests
from pipeline.advise.tryout import try_frames
from pipeline.errors import FileError, SettingsError
from pipeline.records import Outcome
from pipeline.runtime.bounded import read_all
from pipeline.settings import load_settings
from pipeline.signals.definitions import load_definitions
from pipeline.stage import Topic
from pipeline.views.entries import entries
from pipeline.views.prose import print_prose
from pipeline.views.words import change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.advise.rules.needs import Need
    from pipeline.advise.rules.rule import Rule
    from pipeline.settings import Settings

RESULTS = ("verified", "no_effect", "regressed", "rejected", "expired", "fine")

catalogue = typer.Typer(
    help="The tuning rules: list, show, check, try them, and what came of them.", no_args_is_help=True
)

Config = Annotated[Path | None, typer.Option(help="Settings file; its config_dir holds the catalogue.")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table, as the documentation has it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@catalogue.command(name="list")
def list_rules(*, config: Config = None, as_json: AsJson = False) -> None:
    """List the rules: what each finds and which knob it turns."""
    rules = _rules(config)
    if as_json:
        typer.echo(json.dumps([_brief(rule) for rule in rules]))
        return
    Console().print(entries((rule.id, _lines(rule)) for rule in rules))


def _lines(rule: Rule) -> tuple[Text, Text]:
    """What it finds and which knob it turns; what it looks at, how often it is right beforehand, what it risks."""
    finds = Text.assemble((rule.finding, "yellow"), f"  {rule.target.component}: {rule.change.parameter}")
    about = f"{rule.category}, by {rule.tier.value}; prior {rule.prior:.2f}, risk {rule.risk}"
    return finds, Text(about, "dim")


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


@catalogue.command(name="needs")
def show_needs(*, config: Config = None, markdown: AsMarkdown = False, as_json: AsJson = False) -> None:
    """Show which metrics lead to which advice: what to publish for which rules."""
    folder = load_settings(config).config_dir
    definitions = load_definitions(folder)
    found = needs(load_catalogue(folder / "catalogue", definitions), definitions)
    if as_json:
        typer.echo(json.dumps([need._asdict() for need in found]))
    elif markdown:
        typer.echo("\n".join(needs_table(found)))
    else:
        Console().print(entries((need.name, _needed(need)) for need in found))


def _needed(need: Need) -> tuple[Text, Text, Text]:
    """What it is made of, the rules that ask for it, those that it makes surer."""
    assumed = "" if need.assumed is None else f"; {need.assumed:g} is assumed where nobody publishes it"
    asked = Text.assemble(("asked for by ", "dim"), ", ".join(need.asked_by)) if need.asked_by else Text()
    surer = Text.assemble(("makes surer ", "dim"), ", ".join(need.surer)) if need.surer else Text()
    return Text(f"{', '.join(need.metrics)}{assumed}", "yellow"), asked, surer


def needs_table(found: Iterable[Need]) -> Iterator[str]:
    """The same as lines of a Markdown table; `docs/metrics-to-advice.md` has it."""
    yield "| signal or setting | metrics | rules that ask for it | rules that it makes surer |"
    yield "|---|---|---|---|"
    for need in found:
        columns = (_code(need.metrics), _code(need.asked_by), _code(need.surer))
        yield f"| `{need.name}` | {' | '.join(columns)} |"


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


@catalogue.command()
def check(
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder of rule files; left out, the worker's own.")
    ] = None,
    *,
    tests: Annotated[bool, typer.Option(help="Run the rules' own tests too.")] = True,
    config: Config = None,
) -> None:
    """Check rule files and run their tests, and without DIR check the service graph too.

    Exit status 2 names file and line of each mistake and of each test that fails.
    """
    folder = load_settings(config).config_dir
    rules = directory or folder / "catalogue"
    found = load_catalogue(rules, load_definitions(folder))
    typer.echo(f"{len(found.rules)} rules are in order")
    if tests:
        count, failures = run_tests(found)
        if failures:
            lines = (f"{locate(rules, one.rule, 'tests', one.number)}: rule {one.rule}: {one.text}" for one in failures)
            raise SettingsError("\n".join(lines))
        typer.echo(f"{count} tests of rules pass")
    if directory is None:
        typer.echo(f"{len(load_topology(folder / 'topology.yaml').services)} services are in the topology")


@catalogue.command(name="try")
def try_rules(
    *,
    frames: Annotated[
        Path,
        typer.Option(
            help="JSON lines as on duri.frames: frames, and changes among them; "
            "`duri backtest DIR -o OUT --frames` writes OUT/frames.jsonl."
        ),
    ],
    rules: Annotated[Path | None, typer.Option(help="Folder of rule files; left out, the worker's own.")] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show what the rules would have recommended for recorded frames."""
    folder = load_settings(config).config_dir
    known = load_catalogue(rules or folder / "catalogue", load_definitions(folder))
    tried = try_frames(frames, known, load_topology(folder / "topology.yaml"))
    if as_json:
        for record in tried.recommendations:
            typer.echo(record.model_dump_json())
        return
    if tried.recommendations:
        table = Table("service", "rank", Column("rule", overflow="fold"), "change", "sure", "state", "why")
        for record in tried.recommendations:
            sure = f"{record.confidence:.0%}"
            sharing = record.target.shared_by or [record.target.service]
            row = (", ".join(sharing), str(record.rank), record.provenance.rule, change(record), sure)
            table.add_row(*row, record.state.value, record.why.reason)
        Console().print(table)
    summary = f"{tried.frames} frames of {tried.services} services: {len(tried.recommendations)} recommendations"
    typer.echo(summary)


@catalogue.command()
def stats(
    *,
    outcomes: Annotated[
        Path | None, typer.Option(help="JSON lines of outcomes, as `duri backtest` writes; left out, the topic's.")
    ] = None,
    as_json: AsJson = False,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Config = None,
) -> None:
    """Show what came of each rule's recommendations, and how often it was right."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    lines = _lines_of(outcomes) if outcomes else asyncio.run(_lines_on(settings))
    counted = tally(lines)
    if as_json:
        typer.echo(json.dumps(counted))
        return
    if not counted:
        print_prose("no outcomes yet: `duri feedback ID applied` has a recommendation verified; that is an outcome")
        return
    Console().print(entries((rule, _counted(results)) for rule, results in counted.items()))


def _counted(results: dict[str, Any]) -> tuple[str, str]:
    """The hit rate, and how often each result was."""
    rate = results["hit_rate"]
    shown = "no hit rate: none was judged yet" if rate is None else f"hit rate {fmt.percent(rate)}"
    return shown, ", ".join(f"{name.replace('_', ' ')} {results[name]}" for name in RESULTS if results[name])


def tally(lines: Iterable[bytes | str]) -> dict[str, dict[str, Any]]:
    """Outcomes by rule and result, and the share of the judged that were verified; other records are passed over."""
    counted: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            outcome = Outcome.model_validate_json(line)
        except ValueError:
            continue
        results = counted.setdefault(outcome.rule, dict.fromkeys(RESULTS, 0))
        results[outcome.result] += 1
    for results in counted.values():
        good = results["verified"] + results["fine"]
        judged = good + results["no_effect"] + results["regressed"]
        results["hit_rate"] = round(good / judged, 4) if judged else None
    return dict(sorted(counted.items()))


def _lines_of(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read ({error})") from error


async def _lines_on(settings: Settings) -> list[bytes]:
    return [record.value or b"" async for record in read_all(settings, Topic.OUTCOMES)]


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
