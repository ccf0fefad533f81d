"""A FastAPI service whose requests feed the guide's HTTP metrics: `uvicorn examples.fastapi_metrics:app`.

`HttpMetrics` is a plain ASGI middleware: it serves Starlette and every other ASGI framework alike.
"""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, HTTPException

from pipeline.client import MetricsPublisher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


class HttpMetrics:
    """Counts requests and observes how long they take: `http_requests_total`, `http_request_duration_seconds`."""

    def __init__(self, app: Callable[..., Awaitable[None]], publisher: MetricsPublisher) -> None:
        self._app = app
        self._requests = publisher.counter("http_requests_total")
        self._duration = publisher.histogram("http_request_duration_seconds")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request and measure it, also where it ends in an exception."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what the server answers where the application raises

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, watch)
        finally:
            # The route's template, not its path: /orders/{number} is one series, /orders/17 would be one each.
            endpoint = getattr(scope.get("route"), "path", "unmatched")
            self._requests.inc(method=scope["method"], endpoint=endpoint, status=status)
            self._duration.observe(time.perf_counter() - began, method=scope["method"], endpoint=endpoint)


def create_app(publisher: MetricsPublisher) -> FastAPI:
    """The service; it publishes while it runs, and flushes when it stops."""

    @asynccontextmanager
    async def publishing(_: FastAPI) -> AsyncIterator[None]:
        async with publisher:
            yield

    app = FastAPI(lifespan=publishing)
    app.add_middleware(HttpMetrics, publisher=publisher)

    @app.get("/orders/{number}")
    async def order(number: int) -> dict[str, int]:
        if number > 1000:
            raise HTTPException(404)
        return {"number": number}

    return app


app = create_app(MetricsPublisher(os.environ.get("DURI_BOOTSTRAP", "127.0.0.1:9092"), service="shop"))
