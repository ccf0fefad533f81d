"""`duri announce`: tell the pipeline of a deploy, another change, a maintenance window, or what to be quiet about."""

from __future__ import annotations

import asyncio
import difflib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from pipeline import quantities as fmt
from pipeline.cli.times import parse_duration, parse_moment
from pipeline.cli.user import user_name
from pipeline.detect.frame import TOGETHER_SIGNAL, WHOLE_SERVICE_SIGNAL
from pipeline.records import ChangeEvent, MaintenanceWindow, Muting, content_id, from_ms
from pipeline.runtime.control_log import say
from pipeline.settings import load_settings
from pipeline.signals.definitions import load_definitions
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from pipeline.runtime.control_log import Sayable
    from pipeline.settings import Settings

_SOURCE: Final = "/duri/announce"

announce = typer.Typer(
    help="Tell of a deploy, another change, a maintenance window, or which signals to be quiet about.",
    no_args_is_help=True,
)

Service = Annotated[str, typer.Argument(help="Name of the service, as its samples give it.")]
At = Annotated[str, typer.Option(help="When it was: now, 5m (ago), or ISO 8601.")]
Summary = Annotated[str, typer.Option(help="What was changed, in a few words.")]
By = Annotated[str | None, typer.Option(help="Who says so; left out, the user of this machine.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON.")]
Bootstrap = Annotated[str | None, typer.Option(help="host:port of the broker.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]


@announce.command()
def deploy(  # noqa: PLR0913  a command's options are its parameters
    service: Service,
    *,
    version: Annotated[str, typer.Option(help="The version that runs now.")],
    previous: Annotated[str | None, typer.Option(help="The version before; advice to roll back names it.")] = None,
    at: At = "now",
    summary: Summary = "",
    by: By = None,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Tell of a deploy: it is judged before and after, and where it made things worse the rollback is advised."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    when = _moment(at, "--at")
    event = ChangeEvent(
        id=content_id("change", service, "deploy", version, when),
        at=when,
        service=service,
        version=version,
        previous_version=previous,
        summary=summary,
        by=by or user_name(),
    )
    then = "windows before and after are compared; what came of it: `duri watch`"
    _tell(settings, event, f"{service}: deploy of {version} at {_time(when)}; {then}", as_json=as_json)


@announce.command()
def change(  # noqa: PLR0913  a command's options are its parameters
    service: Service,
    kind: Annotated[Literal["config", "scale", "restart", "other"], typer.Argument(help="What was done.")],
    *,
    at: At = "now",
    summary: Summary = "",
    by: By = None,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Tell of another change than a deploy: incidents that follow name it, and verifications do not mistake it."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    when = _moment(at, "--at")
    event = ChangeEvent(
        id=content_id("change", service, kind, summary, when),
        at=when,
        service=service,
        change=kind,
        summary=summary,
        by=by or user_name(),
    )
    _tell(settings, event, f"{service}: {kind} at {_time(when)}; incidents soon after it name it", as_json=as_json)


@announce.command()
def maintenance(  # noqa: PLR0913  a command's options are its parameters
    services: Annotated[list[str] | None, typer.Argument(help="Services it is about; left out, all.")] = None,
    *,
    lasts: Annotated[str, typer.Option("--for", help="How long: 30m, 2h; with 0s a window ends that has --id.")],
    start: Annotated[str, typer.Option(help="When it begins: now, or ISO 8601.")] = "now",
    reason: Annotated[str, typer.Option(help="Why; incidents say it.")] = "",
    identity: Annotated[
        str | None, typer.Option("--id", help="Put it in place of the window announced under this id.")
    ] = None,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Tell of a maintenance window, now or to come: within it these services are not advised on."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    begins = _moment(start, "--start")
    ends = _after(begins, lasts)
    if ends == begins and identity is None:
        raise typer.BadParameter(
            "a window of no length ends one that was announced: name it by --id", param_hint="--for"
        )
    window = MaintenanceWindow(
        id=identity or content_id("maintenance", *(services or ()), begins, ends),
        at=datetime.now(tz=UTC),
        start=begins,
        end=ends,
        services=services or [],
        reason=reason,
    )
    about = ", ".join(services or ()) or "all services"
    named = "".join(f" {service}" for service in services or ())
    over = f"; to end it at once: duri announce maintenance{named} --for 0s --id {window.id}"
    words = f"{about}: maintenance from {_time(begins)} to {_time(ends)}"
    _tell(settings, window, words + (over if ends > begins else ""), as_json=as_json)


@announce.command()
def mute(  # noqa: PLR0913  a command's options are its parameters
    signals: Annotated[list[str], typer.Argument(help="Signals or watched series, as `duri watch` names them.")],
    *,
    lasts: Annotated[str, typer.Option("--for", help="How long: 8h, 7d; 0s ends it.")],
    service: Annotated[str, typer.Option(help="The service it is about; left out, all.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    by: By = None,
    as_json: AsJson = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Be quiet about signals for a while: their deviations make no incident and no advice, unless they are critical."""
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    _warn_of_slips(settings, signals)
    now = datetime.now(tz=UTC)
    until = _after(now, lasts)
    muting = Muting(
        id=content_id("muting", service, *signals, now),
        at=now,
        service=service,
        signals=signals,
        until=until,
        reason=reason,
        by=by or user_name(),
    )
    about = f"{service or 'all services'}: {', '.join(signals)}"
    words = f"quiet until {_time(until)}, unless critical" if until > now else "no longer quiet"
    _tell(settings, muting, f"{about}: {words}", as_json=as_json)


def _tell(settings: Settings, record: Sayable, words: str, *, as_json: bool) -> None:
    asyncio.run(say(settings, record, _SOURCE))
    if as_json:
        typer.echo(record.model_dump_json())
    else:
        print_prose(words)


def _moment(text: str, option: str) -> datetime:
    return from_ms(parse_moment(text, round(time.time() * 1000), option))


def _after(start: datetime, lasts: str) -> datetime:
    try:
        return start + timedelta(seconds=parse_duration(lasts, "--for"))
    except OverflowError as error:
        raise typer.BadParameter(f"{lasts!r} ends beyond the year 9999", param_hint="--for") from error


def _time(moment: datetime) -> str:
    return f"{fmt.date_time(moment)} UTC"


def _warn_of_slips(settings: Settings, signals: list[str]) -> None:
    """Say it where a name is no derived signal's: watched raw series have any name, so it may be meant."""
    derived = {*load_definitions(settings.config_dir).signals, WHOLE_SERVICE_SIGNAL, TOGETHER_SIGNAL}
    for name in [name for name in signals if name not in derived]:
        near = difflib.get_close_matches(name, derived, n=3)
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        print_prose(f"{name} is no derived signal{hint}: this holds for a raw series of that name", err=True)
