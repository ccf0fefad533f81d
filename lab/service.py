"""A DuRi service: FastAPI, an SQLAlchemy pool, a Redis cache, metrics as `prometheus_client` writes them.

Started as `uvicorn lab.service:app`; its knobs come from environment variables and can be turned while it runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest
from redis import asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ITEMS = 300
OWNERS = 2000
_BUCKETS = [0.001 * 1.35**step for step in range(32)]
_TTL_S = 300
_LAG_EVERY_S = 0.05
_LEAK_EVERY_S = 0.5
_RANKED = """
SELECT max(place) FROM (
    SELECT row_number() OVER (ORDER BY note) AS place FROM events WHERE owner BETWEEN :owner AND :last
) AS ranked
"""
_BLOCKS = 0.2  # share of requests that meet the blocking call

SETTINGS = {"DB_POOL_SIZE": "10", "DB_MAX_OVERFLOW": "0", "DB_POOL_RECYCLE": "3600", "CACHE_ENABLED": "1"}
"""What its owners set, and what it is where nobody did."""
PLAYED = {
    "QUERY_S": "0.05",
    "DOWNSTREAM_S": "0.02",
    "SPAN": "0",
    "NOTES": "0",
    "WORK_ROUNDS": "0",
    "BLOCKING_S": "0",
    "LEAK_MIB_S": "0",
    "VERSION_DELAY_S": "0",
    "VERSION_ERRORS": "0",
}
"""What the lab plays in it: its work, and its faults."""

LATENCY = Histogram("http_request_duration_seconds", "Time of a request", ["endpoint"], buckets=_BUCKETS)
REQUESTS = Counter("http_requests", "Requests", ["method", "endpoint", "status"])
ACQUIRE = Histogram("db_pool_acquire_seconds", "Wait for a connection of the pool", buckets=_BUCKETS)
TIMEOUTS = Counter("db_pool_timeouts", "Waits for a connection that were given up")
IN_USE = Gauge("db_pool_connections_in_use", "Connections that requests hold")
POOL_SIZE = Gauge("db_pool_size", "Connections that the pool keeps")
OVERFLOW = Gauge("db_pool_max_overflow", "Connections beyond them for bursts")
PRE_PING = Gauge("db_pool_pre_ping", "1 where a connection is tried before it is used")
RECYCLE = Gauge("db_pool_recycle_seconds", "Age at which a connection is made anew")
INVALIDATED = Counter("db_pool_invalidated", "Connections of the pool that were dead when they were wanted")
CACHE = Gauge("cache_enabled", "1 where the cache is asked")
HITS = Counter("cache_hits", "Found in the cache")
MISSES = Counter("cache_misses", "Not found in the cache")
DOWNSTREAM = Histogram("downstream_request_duration_seconds", "Calls of others' services", buckets=_BUCKETS)
LAG = Gauge("event_loop_lag_seconds", "Worst delay of the event loop since the last scrape")


class Service:
    """One service's connections and knobs. `knobs` are environment variables, as text."""

    def __init__(self) -> None:
        self.knobs = {**SETTINGS, **PLAYED, **os.environ}
        self.engine: AsyncEngine = self._engine()
        self.cache = redis.from_url(
            self.knobs["REDIS_URL"], socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
        )
        self.http = httpx.AsyncClient(timeout=10.0)
        self.callees = [url for url in self.knobs.get("CALLEES", "").split(",") if url]
        self._late = 0.0
        IN_USE.set_function(self._in_use)
        self._publish()

    def _in_use(self) -> float:
        pool: Any = self.engine.pool
        return float(pool.checkedout())

    def _engine(self) -> AsyncEngine:
        engine = create_async_engine(
            self.knobs["DATABASE_URL"],
            pool_size=int(self.knobs["DB_POOL_SIZE"]),
            max_overflow=int(self.knobs["DB_MAX_OVERFLOW"]),
            pool_timeout=5.0,
            pool_pre_ping=True,
            pool_recycle=int(self.knobs["DB_POOL_RECYCLE"]),
        )
        event.listen(engine.sync_engine.pool, "invalidate", lambda *_: INVALIDATED.inc())
        return engine

    def _publish(self) -> None:
        POOL_SIZE.set(float(self.knobs["DB_POOL_SIZE"]))
        OVERFLOW.set(float(self.knobs["DB_MAX_OVERFLOW"]))
        PRE_PING.set(1.0)
        RECYCLE.set(float(self.knobs["DB_POOL_RECYCLE"]))
        CACHE.set(float(self.knobs["CACHE_ENABLED"]))

    async def turn(self, knobs: dict[str, str]) -> None:
        """Take new values; a new pool replaces the old one, whose connections end as they are given back."""
        self.knobs.update(knobs)
        if any(name.startswith("DB_") for name in knobs):
            old, self.engine = self.engine, self._engine()
            await old.dispose()
        self._publish()

    async def query(self, statement: str, **values: Any) -> Any:
        """Rows of one statement, on a connection of the pool."""
        began = time.perf_counter()
        async with self.engine.connect() as connection:
            ACQUIRE.observe(time.perf_counter() - began)
            rows = (await connection.execute(text(statement), values)).all()
            # Stands for what handlers do between two statements of a transaction.
            await asyncio.sleep(float(self.knobs["QUERY_S"]))
            return rows

    async def item(self, number: int) -> str:
        """An item, from the cache where it has it. A full cache that takes nothing is an error of the request."""
        key = f"{self.knobs['SERVICE']}:{number}"
        if self.knobs["CACHE_ENABLED"] == "1":
            found = await self.cache.get(key)
            if found is not None:
                HITS.inc()
                return str(found)
        MISSES.inc()
        rows = await self.query("SELECT payload FROM items WHERE id = :id", id=number)
        payload = str(rows[0][0])
        if self.knobs["CACHE_ENABLED"] == "1":
            await self.cache.set(key, payload, ex=_TTL_S)
        return payload

    async def note(self, number: int) -> None:
        """Write down who asked, where that is switched on: a write to Redis by each request."""
        if self.knobs["NOTES"] == "1":
            await self.cache.set(f"seen:{self.knobs['SERVICE']}:{number}", time.time())

    async def events(self, owner: int) -> int:
        """How many events an owner has; with a span of owners, the last place among them by note: that sorts them."""
        span = int(self.knobs["SPAN"])
        if not span:
            return len(await self.query("SELECT id FROM events WHERE owner = :owner", owner=owner))
        rows = await self.query(_RANKED, owner=owner, last=owner + span)
        return int(rows[0][0] or 0)

    async def work(self) -> None:
        """What a handler computes beside the loop: nothing, but on a replica that has worse luck than the others."""
        rounds = int(self.knobs["WORK_ROUNDS"])
        if rounds:
            await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", b"work", b"salt", rounds)

    async def leak(self) -> None:
        """Keep some memory that nobody needs, each second."""
        kept: list[bytes] = []
        while True:
            await asyncio.sleep(_LEAK_EVERY_S)
            mib = float(self.knobs["LEAK_MIB_S"]) * _LEAK_EVERY_S
            if mib:
                kept.append(os.urandom(round(mib * (1 << 20))))  # zeros would take no memory

    async def version(self) -> None:
        """What a bad version does to each request: takes longer, or fails."""
        await asyncio.sleep(float(self.knobs["VERSION_DELAY_S"]))
        if random.random() < float(self.knobs["VERSION_ERRORS"]):  # noqa: S311
            raise HTTPException(500)

    async def downstream(self) -> None:
        """Stands for a call of a service that is not in the graph."""
        with DOWNSTREAM.time():
            await asyncio.sleep(float(self.knobs["DOWNSTREAM_S"]))

    async def watch_loop(self) -> None:
        """Measure how late the event loop wakes up."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_LAG_EVERY_S)
            self._late = max(self._late, time.perf_counter() - began - _LAG_EVERY_S)

    def worst_lag(self) -> float:
        """Worst delay since this was asked last, as Node's clients give it: one delay stands in one scrape alone."""
        worst, self._late = self._late, 0.0
        return worst


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service = app.state.service = Service()
    tasks = [asyncio.create_task(one) for one in (service.watch_loop(), service.leak())]
    yield
    for task in tasks:
        task.cancel()
    await service.http.aclose()
    await service.engine.dispose()


app = FastAPI(lifespan=_lifespan)


@app.middleware("http")
async def measured(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Count and time each request of users."""
    path = request.url.path
    if path not in ("/health", "/status"):
        return await call_next(request)
    began = time.perf_counter()
    try:
        response = await call_next(request)
    except (SQLAlchemyError, RedisError, httpx.HTTPError) as error:
        if "QueuePool limit" in str(error):
            TIMEOUTS.inc()
        response = Response(type(error).__name__, status_code=500)
    LATENCY.labels(path).observe(time.perf_counter() - began)
    REQUESTS.labels(request.method, path, str(response.status_code)).inc()
    return response


@app.get("/health")
async def health(request: Request) -> dict[str, str]:
    """What everybody asks most: an item, by way of the cache."""
    service: Service = request.app.state.service
    delay = float(service.knobs["BLOCKING_S"])
    if delay and random.random() < _BLOCKS:  # noqa: S311
        time.sleep(delay)  # noqa: ASYNC251  the fault: a blocking call in an asynchronous handler
    await service.version()
    await service.work()
    number = random.randrange(ITEMS)  # noqa: S311
    await service.item(number)
    await service.note(number)
    return {"status": "ok"}


@app.get("/status")
async def status(request: Request) -> dict[str, int]:
    """An owner's events from the database, noted as seen, and what the callees say."""
    service: Service = request.app.state.service
    await service.version()
    await service.work()
    owner = random.randrange(OWNERS)  # noqa: S311
    await service.downstream()
    events = await service.events(owner)
    if service.callees:
        answer = await service.http.get(f"{random.choice(service.callees)}/health")  # noqa: S311
        answer.raise_for_status()
    return {"events": events}


@app.post("/lab/warm")
async def warm(request: Request) -> dict[str, str]:
    """Have every item in the cache."""
    service: Service = request.app.state.service
    for begin in range(0, ITEMS, 10):
        await asyncio.gather(*(service.item(number) for number in range(begin, begin + 10)))
    return {"status": "warm"}


@app.get("/lab/settings")
async def settings(request: Request) -> dict[str, str]:
    """What its owners have set."""
    service: Service = request.app.state.service
    return {name: service.knobs[name] for name in SETTINGS}


@app.post("/lab/knobs")
async def turn(request: Request) -> dict[str, str]:
    """Turn knobs while the service runs."""
    service: Service = request.app.state.service
    await service.turn(await request.json())
    return {"status": "turned"}


@app.get("/metrics")
async def metrics(request: Request) -> Response:
    """The Prometheus page."""
    service: Service = request.app.state.service
    LAG.set(service.worst_lag())
    return Response(generate_latest(REGISTRY), media_type="text/plain; version=0.0.4")
