"""`duri publish`: send what files hold, as it is: the way to try a format."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import sys
import time
from pathlib import Path  # typer reads the annotations
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from pipeline import quantities as fmt
from pipeline.errors import CREATE_TOPIC, BrokerError, FileError
from pipeline.ingest.formats.registry import AUTO
from pipeline.runtime.admin import DEFAULT_MAX_MESSAGE_BYTES, ClusterAdmin
from pipeline.runtime.clients import connection
from pipeline.settings import load_settings
from pipeline.sources.publisher import Publisher
from pipeline.sources.raw_messages import by_lines, whole
from pipeline.sources.tryout import TryOut
from pipeline.stage import Topic
from pipeline.views.prose import print_prose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.settings import Settings

_STDIN: Final = "-"
_WAIT_S: Final = 5.0
_OVERHEAD: Final = 1024
"""Bytes of a message's batch, key and headers, which count as well."""
_SAY_EVERY: Final = 1000
_LETTERS_SHOWN: Final = 10


def publish(  # noqa: PLR0913  a command's options are its parameters
    files: Annotated[list[str], typer.Argument(help="Files to send, each as one message; - is standard input.")],
    *,
    content_type: Annotated[
        str | None,
        typer.Option(help="The header content-type, as docs/formats.md lists them; left out, ingest looks at it."),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Where to; left out, duri.metrics.")] = None,
    lines: Annotated[int | None, typer.Option(min=1, help="So many lines a message instead of the whole file.")] = None,
    key: Annotated[str | None, typer.Option(help="The messages' key; the service is a good one.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Send nothing: say what ingest would make of it. Needs no Kafka.")
    ] = False,
    bootstrap: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Send files, byte for byte, as a producer would: one message a file. The way to try a format.

    All go through one partition, so that they are read in order.
    """
    settings = load_settings(config, overrides={"kafka.bootstrap": bootstrap})
    topic = topic or settings.topics.name(Topic.METRICS)
    headers = [] if content_type is None else [("content-type", content_type.encode())]

    def messages(limit: int) -> Iterator[bytes]:
        for name in files:
            with _opened(name) as source:
                yield from whole(source, name, limit) if lines is None else by_lines(source, name, lines, limit)

    if check:
        _try_out(settings, topic, messages(DEFAULT_MAX_MESSAGE_BYTES), key, headers)
        return
    sent, size = asyncio.run(_send(settings, topic, messages, key, headers))
    print_prose(f"sent {fmt.count(sent, 'message')} ({fmt.octets(size)}) to {topic} at {settings.kafka.bootstrap}")
    print_prose("where `duri run` runs it is read at once; what it refuses: `duri deadletter list`")


@contextlib.contextmanager
def _opened(name: str) -> Iterator[IO[bytes]]:
    if name == _STDIN:
        yield sys.stdin.buffer
        return
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise FileError(f"{name} cannot be read: {error.strerror}") from error


async def _send(
    settings: Settings,
    topic: str,
    messages: Callable[[int], Iterator[bytes]],
    key: str | None,
    headers: list[tuple[str, bytes]],
) -> tuple[int, int]:
    """Number of messages and bytes."""
    sent, size = 0, 0
    limit = await _limit(settings, topic)
    with Console(stderr=True).status("sending") as status:
        async with Publisher(connection(settings.kafka), topic) as publisher:
            for message in messages(limit):
                await publisher.publish_raw(message, key, headers)
                sent, size = sent + 1, size + len(message)
                if sent % _SAY_EVERY == 0:
                    status.update(f"sending: {fmt.count(sent, 'message')}, {fmt.octets(size)}")
            await publisher.flush()
    return sent, size


def _is_json_lines(message: bytes) -> bool:
    """Whether its first two lines are JSON objects, each in itself."""
    lines = message.split(b"\n", 2)[:2]
    return len(lines) > 1 and all(one.startswith(b"{") and one.rstrip().endswith(b"}") for one in lines)


async def _limit(settings: Settings, topic: str) -> int:
    """Bytes that a message may have there. Raises BrokerError where there is no such topic."""
    async with ClusterAdmin(settings.kafka, wait_s=_WAIT_S) as admin:
        facts = await admin.facts([topic])
        if topic not in facts:
            alike = difflib.get_close_matches(topic, await admin.topics(), n=1)
            hint = f"; did you mean {alike[0]}?" if alike else ""
            raise BrokerError(f"{settings.kafka.bootstrap}: there is no topic {topic}{hint}; {CREATE_TOPIC}")
    return facts[topic].max_message_bytes - _OVERHEAD


def _try_out(
    settings: Settings, topic: str, messages: Iterator[bytes], key: str | None, headers: Sequence[tuple[str, bytes]]
) -> None:
    formats = {settings.topics.name(Topic.METRICS): settings.topics.metrics_format, **settings.topics.extra_inputs}
    tryout = TryOut(settings.ingest, topic, formats.get(topic, AUTO), round(time.time() * 1000))
    several_lines = False
    with Console(stderr=True).status("reading"):
        for message in messages:
            several_lines = several_lines or _is_json_lines(message)
            tryout.take(message, key, headers)
    formats_read = ", ".join(f"{name} {number}" for name, number in tryout.formats.items())
    typer.echo(f"{fmt.count(tryout.messages, 'message')} by format: {formats_read}")
    typer.echo(f"{fmt.count(tryout.samples, 'sample')} of {len(tryout.series)} series would be accepted")
    for letter in tryout.letters[:_LETTERS_SHOWN]:
        position = f" at {letter['position']}" if "position" in letter else ""
        print_prose(f"refused: message {int(letter['offset']) + 1}{position}: {letter['reason']}: {letter['message']}")
    if len(tryout.letters) > _LETTERS_SHOWN:
        typer.echo(f"… and {len(tryout.letters) - _LETTERS_SHOWN} more refused")
    if tryout.letters and several_lines:
        print_prose("each line by itself looks like a message: `--lines 1` sends them so")
    if tryout.letters:
        raise typer.Exit(1)
