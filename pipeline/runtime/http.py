"""Health and metrics over HTTP: `/healthz`, `/readyz` and `/metrics`, for probes and Prometheus, nothing else.

GET only, one request a connection, 8 KB of request and five seconds to send it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_MAX_REQUEST_BYTES = 8192
_REQUEST_S = 5.0
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_JSON = "application/json"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes
    content_type: str = _JSON


Route = Callable[[], Answer]


def json_answer(status: int, body: Mapping[str, object]) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(body).encode() + b"\n")


def metrics_answer(exposition: bytes) -> Answer:
    """An answer in Prometheus' text format."""
    return Answer(200, exposition, CONTENT_TYPE_LATEST)


@contextlib.asynccontextmanager
async def serving(host: str, port: int, routes: Mapping[str, Route]) -> AsyncIterator[str]:
    """Serve the routes by path while the block runs; gives the address, `http://host:port`.

    Raises SettingsError where the port cannot be had.
    """
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            connections.add(task)
            task.add_done_callback(connections.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await _exchange(reader, writer, routes)
        writer.close()

    try:
        server = await asyncio.start_server(connected, host, port, limit=_MAX_REQUEST_BYTES)
    except OSError as error:
        raise SettingsError(
            f"runtime.http_port: cannot listen on {host}:{port} ({os.strerror(error.errno or 0)}); "
            "choose another port (--http-port), or 0 for any free one"
        ) from error
    bound = server.sockets[0].getsockname()
    address = f"http://{host}:{bound[1]}"
    log.info("health and metrics", address=address, paths=sorted(routes))
    try:
        yield address
    finally:
        server.close()
        for task in connections:
            task.cancel()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, routes: Mapping[str, Route]) -> None:
    try:
        async with asyncio.timeout(_REQUEST_S):
            request = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.IncompleteReadError):
        return
    except asyncio.LimitOverrunError:
        answer = json_answer(400, {"error": "request too long"})
    else:
        answer = _answer(request, routes)
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + answer.body)
    async with asyncio.timeout(_REQUEST_S):
        await writer.drain()


def _answer(request: bytes, routes: Mapping[str, Route]) -> Answer:
    parts = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/"):
        return json_answer(400, {"error": "not an HTTP request"})
    method, target, _version = parts
    route = routes.get(target.split("?", 1)[0])
    if route is None:
        return json_answer(404, {"error": "no such page", "pages": sorted(routes)})
    if method != "GET":
        return json_answer(405, {"error": "only GET is answered"})
    return route()
