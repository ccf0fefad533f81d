"""`duri models shadow, withdraw, promote, revert`: which version scores beside the live one, and which one is live."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline import quantities as fmt
from pipeline.cli.model_options import AsJson, Config, Name, Registry, Version, Who, Why, author
from pipeline.cli.moving import Mover, Told
from pipeline.errors import LifecycleError
from pipeline.registry.gate import objections
from pipeline.registry.pointers import Action
from pipeline.registry.store import Store
from pipeline.settings import load_settings
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.registry.pointers import Author, Move, PointerLog
    from pipeline.registry.report import ShadowReport

Bootstrap = Annotated[str | None, typer.Option(help="host:port of the broker.")]
Wait = Annotated[float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for the workers' answer.")]
Alone = Annotated[
    bool, typer.Option("--registry-only", help="Need no broker: workers take it when one of them starts.")
]
_WAIT_S = 15.0
_DONE = {
    Action.SHADOW: "in the shadow",
    Action.WITHDRAW: "in the shadow no more",
    Action.PROMOTE: "live",
    Action.REVERT: "live again",
    Action.REFUSE: "refused",
}


def _mover(
    name: str, registry: str | None, config: Path | None, bootstrap: str | None, wait: float, alone: bool
) -> Mover:
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap, "models.registry": registry})
    return Mover(settings, Store(settings.models.registry), name, None if alone else wait)


def shadow(  # noqa: PLR0913  each is an option of the command
    name: Name,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Left out: how the one in the shadow does.")
    ] = None,
    *,
    why: Why = "",
    who: Who = None,
    bootstrap: Bootstrap = None,
    wait: Wait = _WAIT_S,
    registry_only: Alone = False,
    as_json: AsJson = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Let a version score beside the live one, raising nothing; without VERSION, how it does there."""
    mover = _mover(name, registry, config, bootstrap, wait, registry_only)
    if version is None:
        _report(mover, as_json=as_json)
        return
    _move(mover, Action.SHADOW, version, author(who, why), lambda log, by: log.shadow(version, by))


def withdraw(  # noqa: PLR0913  each is an option of the command
    name: Name,
    *,
    why: Why = "",
    who: Who = None,
    bootstrap: Bootstrap = None,
    wait: Wait = _WAIT_S,
    registry_only: Alone = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Take the version in the shadow out of it."""
    mover = _mover(name, registry, config, bootstrap, wait, registry_only)
    _move(mover, Action.WITHDRAW, None, author(who, why), lambda log, by: log.withdraw(by))


def promote(  # noqa: PLR0913  each is an option of the command
    name: Name,
    version: Version,
    *,
    force: Annotated[bool, typer.Option("--force", help="Although the gate is against it; needs --why.")] = False,
    why: Why = "",
    who: Who = None,
    bootstrap: Bootstrap = None,
    wait: Wait = _WAIT_S,
    registry_only: Alone = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Make a version live, if the gate agrees: not worse on the evaluation period, and 24 hours in the shadow."""
    mover = _mover(name, registry, config, bootstrap, wait, registry_only)
    against = gate(mover, version)
    _move(
        mover,
        Action.PROMOTE,
        version,
        author(who, why),
        lambda log, by: log.promote(version, by, against, force=force),
    )


def revert(  # noqa: PLR0913  each is an option of the command
    name: Name,
    *,
    why: Why = "",
    who: Who = None,
    bootstrap: Bootstrap = None,
    wait: Wait = _WAIT_S,
    registry_only: Alone = False,
    registry: Registry = None,
    config: Config = None,
) -> None:
    """Make the version live again that was live before."""
    mover = _mover(name, registry, config, bootstrap, wait, registry_only)
    _move(mover, Action.REVERT, None, author(who, why), lambda log, by: log.revert(by))


def gate(mover: Mover, version: str) -> tuple[str, ...]:
    """What speaks against making this version live now."""
    live = mover.log.pointers().live
    candidate = mover.store.manifest(mover.model, version)
    current = mover.store.manifest(mover.model, live) if live else None
    return objections(candidate, current, mover.shadow_metrics(version), mover.margin)


def _move(
    mover: Mover, action: Action, version: str | None, by: Author, make: Callable[[PointerLog, Author], Move]
) -> None:
    caught_up = mover.catch_up()
    if caught_up is not None:
        say(caught_up)
        before = caught_up.move
        if before.action is action and version in (None, before.version):
            return
    if version is not None:
        mover.check(version)
    say(mover.make(lambda: make(mover.log, by), by))


def say(told: Told) -> None:
    """Print what was moved, and who knows of it."""
    move = told.move
    forced = f", against the gate ({'; '.join(move.gate)})" if move.forced else ""
    print_prose(
        f"{move.model}: {move.version or 'no model'} is {_DONE[move.action]}, move {move.number} by {move.who}{forced}"
    )
    if told.caught_up:
        print_prose("  the workers had not heard of this move; they are told now")
    heard = told.heard
    if heard is None:
        return
    if heard.complete:
        print_prose(f"  {fmt.count(heard.partitions, 'partition')} of duri.samples switched")
    elif heard.handed_out is None:
        print_prose("  no worker has answered yet: who runs ingest hands it out, `duri run` for instance")
    else:
        print_prose(
            f"  {len(heard.answers)} of {fmt.count(heard.partitions, 'partition')} have switched so far; the others "
            "do when they come to it"
        )


def _report(mover: Mover, *, as_json: bool) -> None:
    version = mover.log.pointers().shadow
    if version is None:
        raise LifecycleError(
            f"{mover.model}: no version is in the shadow; `duri models shadow {mover.model} VERSION` puts one there"
        )
    report = mover.shadow_report(version)
    against = gate(mover, version)
    if as_json:
        figures = None if report is None else _figures(report)
        typer.echo(json.dumps({"version": version, "report": figures, "gate": list(against)}))
        return
    if report is None:
        print_prose(f"{mover.model} {version}: nothing is known yet; the workers tell once an hour of event time")
    else:
        Console().print(_table(mover.model, version, report))
    print_prose("\n".join(f"  the gate: {reason}" for reason in against) or "  the gate has nothing against it")


def _figures(report: ShadowReport) -> dict[str, float | None]:
    return {
        "hours": report.hours,
        "service_days": report.service_days,
        "agreement": report.agreement,
        "correlation": report.correlation,
        **{name: report.count(name) for name in ("both", "only_shadow", "only_live", "neither", "unscored")},
        **{f"{who}_episodes": report.count(f"{who}_episodes") for who in ("shadow", "live")},
        "other_episodes": report.count("other_episodes"),
        **{f"{who}_lone_per_service_day": report.lone_a_day(who) for who in ("shadow", "live")},
    }


def _table(model: str, version: str, report: ShadowReport) -> Table:
    figures = _figures(report)
    table = Table("", "shadow", "live", title=f"{model} {version} in the shadow")
    table.caption = (
        f"{report.hours:.1f} h of event time, {report.service_days:.1f} service-days; agreement "
        f"{_share(report.agreement)}, correlation of the scores {_share(report.correlation)}"
    )
    table.add_row("alarms", *(str(figures[f"{who}_episodes"]) for who in ("shadow", "live")))
    table.add_row("of other detectors meanwhile", str(figures["other_episodes"]), "")
    lone = (f"{report.lone_a_day(who):.3g}" for who in ("shadow", "live"))
    table.add_row("that no other detector shared, a service and day", *lone)
    table.add_row("frames in alarm by one alone", str(figures["only_shadow"]), str(figures["only_live"]))
    table.add_row("frames in alarm by both", str(figures["both"]), str(figures["both"]))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
