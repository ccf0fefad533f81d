"""The lab as a whole: four services, their backends, and how its knobs are turned."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import httpx

from lab import limits
from lab.backends import STATEMENTS, Postgres, Redis, free_port, spawn, stop, wait_for
from lab.disk import Disk
from lab.load import Balancer

if TYPE_CHECKING:
    import subprocess

    from asyncpg import Connection

CALLS = {
    "duri_brain": (),
    "duri_evolution": (),
    "duri_core": ("duri_brain", "duri_evolution"),
    "duri_control": ("duri_core",),
}
"""Who calls whom, callees first."""

FOLDERS = "duri-lab-"
"""How the names of labs' folders begin."""
CORES, MEMORY = 2.0, 1 << 30
_FIRST_VERSION = {"VERSION_DELAY_S": "0", "VERSION_ERRORS": "0"}
_SCHEMA = """
CREATE TABLE items (id int PRIMARY KEY, payload text NOT NULL);
INSERT INTO items SELECT n, repeat(md5(n::text), 256) FROM generate_series(0, 299) n;
CREATE TABLE events (id int PRIMARY KEY, owner int NOT NULL, note text NOT NULL);
INSERT INTO events SELECT n, n % 2000, md5(n::text) FROM generate_series(1, 60000) n;
CREATE INDEX ix_events_owner ON events (owner);
CREATE ROLE app LOGIN;
GRANT SELECT, UPDATE ON items, events TO app;
ANALYZE;
"""


@dataclass
class Replica:
    """A service's process and limits; `number` counts from 0."""

    number: int
    url: str
    process: subprocess.Popen[bytes]
    limits: limits.Limits | None


class Lab:
    """Started by `async with`; all of it goes with the folder at the end. Raises LabError where it cannot start."""

    services: dict[str, list[Replica]]
    balancers: dict[str, Balancer]
    """Where users' requests to a service go. Services call the first replica of one another."""
    postgres: Postgres
    redis: Redis
    disk: Disk
    scope: limits.Scope | None = None
    versions: dict[str, list[dict[str, str]]]
    """Of each service the knobs of the version that runs, and of the one before it."""
    silent: set[str]
    """Exporters that have stopped: postgres, redis."""
    folder: Path
    """Of its own, below the system's for temporary files."""
    held: list[Connection[Any]]
    """Sessions that a fault keeps open."""

    async def __aenter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=FOLDERS))
        self.folder.chmod(0o755)
        self.services, self.balancers, self.versions, self.silent = {}, {}, {}, set()
        self.held = []
        try:
            self.disk = Disk(self.folder / "disk")
            if limits.why_not() is None:
                self.scope = limits.Scope(self.folder.name)
            self.postgres = Postgres(self.folder)
            self.redis = Redis(self.folder)
            if self.scope is not None:
                self.scope.take(self.postgres.pid)
                self.scope.take(self.redis.pid)
            await self.sql(_SCHEMA)
            if self.postgres.counts_statements:
                await self.sql(f"CREATE EXTENSION {STATEMENTS}")
            self._http = httpx.AsyncClient(timeout=10.0)
            for name in CALLS:
                self.services[name], self.balancers[name] = [], Balancer()
                self.versions[name] = [_FIRST_VERSION, _FIRST_VERSION]
                await self.scale(name, 1)
        except BaseException:
            self._stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.let_go()
        await self._http.aclose()
        self._stop()

    async def scale(self, service: str, replicas: int) -> None:
        """Have so many replicas of a service, the new ones with a warm cache."""
        running, urls = self.services[service], self.balancers[service].urls
        while len(running) > replicas:
            urls.pop()
            await asyncio.to_thread(_end, running.pop())
        while len(running) < replicas:
            replica = await asyncio.to_thread(self._start, service, len(running))
            (await self._http.post(f"{replica.url}/lab/warm")).raise_for_status()
            running.append(replica)
            urls.append(replica.url)

    async def restart(self, service: str) -> None:
        """Start a service's processes again, with the environment that they had first."""
        for number, old in enumerate(self.services[service]):
            port = int(old.url.rpartition(":")[2])
            await asyncio.to_thread(stop, old.process)
            self.services[service][number] = await asyncio.to_thread(self._start, service, number, port)

    async def replace(self, service: str, number: int) -> None:
        """Start one replica anew; it gets no requests until it is warm."""
        old, urls = self.services[service][number], self.balancers[service].urls
        if len(urls) > 1:
            urls.remove(old.url)
        await asyncio.to_thread(stop, old.process)
        port = int(old.url.rpartition(":")[2])
        new = await asyncio.to_thread(self._start, service, number, port)
        self.services[service][number] = new
        (await self._http.post(f"{new.url}/lab/warm")).raise_for_status()
        if new.url not in urls:
            urls.append(new.url)

    async def restart_postgres(self) -> None:
        """Start PostgreSQL again."""
        await asyncio.to_thread(self.postgres.restart)
        if self.scope is not None:
            self.scope.take(self.postgres.pid)

    def _start(self, name: str, number: int, port: int | None = None) -> Replica:
        port = port or free_port()
        log = self.folder / f"{name}-{number}.log"
        url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "SERVICE": name,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "CALLEES": ",".join(self.services[callee][0].url for callee in CALLS[name]),
        }
        command = [sys.executable, "-m", "uvicorn", "lab.service:app", "--port", str(port), "--log-level", "warning"]
        process = spawn(command, log, env=environment, cwd=Path(__file__).parent.parent)
        limited = None
        if self.scope is not None:
            group = f"{self.scope.name}/{name}-{number}"
            like = self.services[name][0].limits if self.services[name] else None
            cores, memory = (CORES, MEMORY) if like is None else (like.cores, like.memory)
            limited = limits.Limits(group, process.pid, cores, memory)
        wait_for(port, process, log)
        return Replica(number, url, process, limited)

    def _stop(self) -> None:
        for replica in [one for replicas in self.services.values() for one in replicas]:
            _end(replica)
        for part in ("redis", "postgres", "disk"):
            if hasattr(self, part):
                getattr(self, part).stop()
        if self.scope is not None:
            self.scope.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def turn(self, service: str, replica: int | None = None, **knobs: str) -> None:
        """Set environment variables of a service's replicas, or one of them, while they run."""
        for one in self.services[service]:
            if replica in (None, one.number):
                (await self._http.post(f"{one.url}/lab/knobs", json=knobs)).raise_for_status()

    async def deploy(self, service: str, **version: str) -> None:
        """Run another version of a service: what is different from the first one."""
        self.versions[service] = [{**_FIRST_VERSION, **version}, self.versions[service][0]]
        await self.turn(service, None, **self.versions[service][0])

    async def roll_back(self, service: str) -> None:
        """Run the version before, as `kubectl rollout undo` does: done twice, it is the newest one again."""
        self.versions[service].reverse()
        await self.turn(service, None, **self.versions[service][0])

    async def settings(self, replica: Replica) -> dict[str, str]:
        """The environment variables that a replica's owners may set, as it has them."""
        answer = await self._http.get(f"{replica.url}/lab/settings")
        answer.raise_for_status()
        settings: dict[str, str] = answer.json()
        return settings

    async def rows(self, query: str) -> list[Any]:
        """What a query of the superuser's returns."""
        connection: Connection[Any] = await asyncpg.connect(self.postgres.admin_url, timeout=5.0)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def sql(self, statements: str) -> None:
        """Run statements as the superuser, each in its own transaction."""
        connection: Connection[Any] = await asyncpg.connect(self.postgres.admin_url, timeout=5.0)
        try:
            for statement in filter(str.strip, statements.split(";")):
                await connection.execute(statement)
        finally:
            await connection.close()

    async def hold(self, *statements: str) -> None:
        """Open a session that runs these and then stays as it is."""
        session: Connection[Any] = await asyncpg.connect(self.postgres.url.replace("+asyncpg", ""), timeout=5.0)
        self.held.append(session)
        for statement in statements:
            await session.execute(statement)

    def let_go(self) -> None:
        """End those sessions, where nobody else did."""
        for session in self.held:
            session.terminate()
        self.held.clear()

    def slow_redis_disk(self, writes_per_s: int) -> None:
        """Let Redis write to its disk so often at most; 0 lifts it."""
        if self.scope is not None:
            self.scope.slow_disk(self.redis.pid, self.folder, writes_per_s)

    def redis_cli(self, *arguments: str) -> None:
        """Run one command of Redis."""
        self.redis.command(*arguments)


def _end(replica: Replica) -> None:
    stop(replica.process)
    if replica.limits is not None:
        replica.limits.remove()
