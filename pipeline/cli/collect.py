"""`duri collect`: publish how a machine and its containers are doing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from structlog import get_logger

from pipeline.cli.times import parse_duration
from pipeline.client import MetricsPublisher
from pipeline.errors import CREATE_TOPIC, BrokerError
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import connection
from pipeline.runtime.logs import configure_logging
from pipeline.settings import load_settings
from pipeline.sources.collecting import Collector, Reading
from pipeline.sources.docker import read_docker
from pipeline.sources.docker_api import DockerApi
from pipeline.sources.host import read_host
from pipeline.sources.processes import ProcessGroups
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.settings import Settings

_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_WAIT_S = 5.0
_PUBLISH_S = 1.0

log = get_logger(__name__)

collect = typer.Typer(help="Publish how this machine and its containers are doing.", no_args_is_help=True)

Interval = Annotated[str, typer.Option(help="Read this often.")]
Show = Annotated[bool, typer.Option("--show", help="Print one reading as Prometheus text and leave; needs no Kafka.")]
Bootstrap = Annotated[str | None, typer.Option(help="host:port of the broker.")]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]


@collect.command()
def host(
    *,
    interval: Interval = "15s",
    service: Annotated[str | None, typer.Option(help="Service of the samples; left out, this machine's name.")] = None,
    top: Annotated[
        int, typer.Option(min=0, max=1000, help="So many process groups by CPU, and as many by memory.")
    ] = 10,
    show: Show = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Publish CPU, memory, disks, network (as node_exporter) and the top processes (as process-exporter).

    Until SIGTERM or Ctrl-C.
    """
    groups = ProcessGroups(top)

    def read() -> Iterable[Reading]:
        yield from read_host()
        yield from groups.read()

    _collect(read, service or socket.gethostname(), interval, show, load(config, bootstrap))


@collect.command()
def docker(
    *,
    interval: Interval = "15s",
    path: Annotated[
        str | None,
        typer.Option("--socket", help="Socket of Docker or Podman; left out, DOCKER_HOST, else /var/run/docker.sock."),
    ] = None,
    show: Show = False,
    bootstrap: Bootstrap = None,
    config: Config = None,
) -> None:
    """Publish what each container uses and may use (as cAdvisor names it), until SIGTERM or Ctrl-C."""
    api = DockerApi(socket_path(path or os.environ.get("DOCKER_HOST") or _DEFAULT_SOCKET))
    _collect(lambda: read_docker(api), socket.gethostname(), interval, show, load(config, bootstrap))


def socket_path(text: str) -> Path:
    """Path of a Unix socket, as a path or as `unix://…`. Raises typer.BadParameter."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "unix":
        raise typer.BadParameter(
            f"{text!r}: only Unix sockets are read, like unix:///var/run/docker.sock", param_hint="--socket"
        )
    return Path(rest if separator else text)


def load(config: Path | None, bootstrap: str | None) -> Settings:
    """The settings of the command."""
    return load_settings(config, overrides={"kafka.bootstrap": bootstrap})


def _collect(
    read: Callable[[], Iterable[Reading]], service: str, interval: str, show: bool, settings: Settings
) -> None:
    interval_s = parse_duration(interval, "--interval")
    if show:
        for reading in read():
            typer.echo(text(reading))
        return
    configure_logging(settings.runtime)
    asyncio.run(_run(read, service, interval_s, settings))


def text(reading: Reading) -> str:
    """The reading as Prometheus writes it."""
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in reading.labels.items())
    return f"{reading.name}{{{labels}}} {float(reading.value):g}" if labels else f"{reading.name} {reading.value:g}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def _run(read: Callable[[], Iterable[Reading]], service: str, interval_s: float, settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    topic = settings.topics.name(Topic.METRICS)
    async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
        if topic not in await admin.topics():
            raise BrokerError(f"{settings.kafka.bootstrap}: no topic {topic}; {CREATE_TOPIC}")
    log.info("the collector begins", service=service, every_s=interval_s, to=f"{topic} at {settings.kafka.bootstrap}")
    client = connection(settings.kafka)
    async with MetricsPublisher(
        client.pop("bootstrap_servers"), service=service, topic=topic, interval_s=min(_PUBLISH_S, interval_s), **client
    ) as publisher:
        await Collector(read, publisher, interval_s).run(stop)
    statistics = publisher.statistics
    log.info("published", samples=statistics.sent, dropped=statistics.dropped + statistics.waiting)
