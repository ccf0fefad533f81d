"""Turning a knob of a lab that `duri lab up` keeps: by a recommendation's commands, or by some of one's own.

The lab listens on a socket in its folder, which only its owner may open; a request and its answer are a line of JSON
each.
"""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import httpx
from redis.exceptions import RedisError

from lab.backends import LabError
from lab.executor import execute
from lab.knobs import knobs_of, turned
from lab.system import FOLDERS
from pipeline.errors import DuriError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from lab.system import Lab

_SOCKET = "turn"
_MOST_BYTES = 1 << 20
_REFUSED = (
    DuriError,
    OSError,
    ValueError,
    TypeError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    RedisError,
    httpx.HTTPError,
)
"""What a wish may meet with and the asker is told: what is no wish, and what a part of the lab does not take."""


@dataclass(frozen=True)
class Wish:
    """What is to be run: the commands of a recommendation, its undo, or these commands on this service."""

    recommendation: str = ""
    """Id, or its first characters."""
    undo: bool = False
    service: str = ""
    commands: list[dict[str, str]] = field(default_factory=list)
    """Each with `via` and `run`, as a recommendation's."""


@dataclass(frozen=True)
class Turned:
    """What was done. `knobs` are those that differ since, each with its value before and after."""

    ran: list[str]
    left: list[str]
    """Commands that the lab does not run: a person's, another tool's, or those that only look."""
    knobs: dict[str, list[str | None]]
    applied: str = ""
    """Id of the recommendation that was then said to be applied."""


async def turn(lab: Lab, service: str, commands: list[dict[str, Any]], speed: float) -> Turned:
    """Run what can be run of these commands, durations in the time of a lab that runs so fast. Raises LabError."""
    if service not in lab.services:
        raise LabError(f"no such service: {service}; there are: {', '.join(lab.services)}")
    before = await knobs_of(lab)
    ran = await execute(lab, service, commands, speed)
    left = [str(one["run"]) for one in commands if one["run"] not in ran]
    return Turned(ran, left, turned(before, await knobs_of(lab)))


@asynccontextmanager
async def listening(folder: Path, grant: Callable[[Wish], Awaitable[Turned]]) -> AsyncIterator[Path]:
    """Grant what comes by the socket in this folder, for as long as it is open; yields its path."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line := await reader.readline():  # empty: somebody only looked whether there is a lab
            try:
                told = asdict(await grant(Wish(**json.loads(line))))
            except _REFUSED as error:
                told = {"error": str(error) or type(error).__name__}
            with suppress(ConnectionError):  # who asked has gone; what was done stays done
                writer.write(json.dumps(told).encode() + b"\n")
                await writer.drain()
        writer.close()

    path = folder / _SOCKET
    server = await asyncio.start_unix_server(answer, path, limit=_MOST_BYTES)
    path.chmod(0o600)
    try:
        yield path
    finally:
        server.close()


def the_only_lab() -> Path:
    """Folder of the lab that runs here. Raises LabError where none does, or several."""
    sockets = Path(tempfile.gettempdir()).glob(f"{FOLDERS}*/{_SOCKET}")
    found = sorted(path.parent for path in sockets if _is_open(path))
    if not found:
        raise LabError("no lab runs here; `duri lab up` starts one")
    if len(found) > 1:
        raise LabError(f"several labs run here; name one with --lab: {', '.join(map(str, found))}")
    return found[0]


def _is_open(path: Path) -> bool:
    """Whether a lab listens there: one that was killed has left its socket behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


async def ask(folder: Path, wish: Wish) -> Turned:
    """Have the lab of this folder do it. Raises LabError with what it says, or where it does not answer."""
    try:
        reader, writer = await asyncio.open_unix_connection(folder / _SOCKET, limit=_MOST_BYTES)
        writer.write(json.dumps(asdict(wish)).encode() + b"\n")
        told = json.loads(await reader.readline())
        writer.close()
    except (OSError, ValueError) as error:
        raise LabError(f"no lab answers in {folder}: {error}") from error
    if "error" in told:
        raise LabError(told["error"])
    return Turned(**told)
