"""The lab as a whole: four services, their backends, and how its knobs are turned."""

from __future__ import annotations

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
from lab.backends import Postgres, Redis, free_port, spawn, stop, wait_for

if TYPE_CHECKING:
    import subprocess

CALLS = {
    "duri_brain": (),
    "duri_evolution": (),
    "duri_core": ("duri_brain", "duri_evolution"),
    "duri_control": ("duri_core",),
}
"""Who calls whom, callees first."""

CORES, MEMORY = 2.0, 1 << 30
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
class Running:
    """A service's process and limits."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    limits: limits.Limits | None


class Lab:
    """Started by `async with`; all of it goes with the folder at the end. Raises LabError where it cannot start."""

    services: dict[str, Running]
    postgres: Postgres
    redis: Redis
    scope: limits.Scope | None = None

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="duri-lab-"))
        self._folder.chmod(0o755)
        self.services = {}
        try:
            if limits.why_not() is None:
                self.scope = limits.Scope(self._folder.name)
            self.postgres = Postgres(self._folder)
            self.redis = Redis(self._folder)
            if self.scope is not None:
                self.scope.take(self.postgres.pid)
                self.scope.take(self.redis.pid)
            await self.sql(_SCHEMA)
            for name in CALLS:
                self._start(name)
            self._http = httpx.AsyncClient(timeout=10.0)
            for service in self.services.values():
                (await self._http.post(f"{service.url}/lab/warm")).raise_for_status()
        except BaseException:
            self._stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.aclose()
        self._stop()

    def _start(self, name: str) -> None:
        port, log = free_port(), self._folder / f"{name}.log"
        url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            "SERVICE": name,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "CALLEES": ",".join(self.services[callee].url for callee in CALLS[name]),
        }
        command = [sys.executable, "-m", "uvicorn", "lab.service:app", "--port", str(port), "--log-level", "warning"]
        process = spawn(command, log, env=environment, cwd=Path(__file__).parent.parent)
        limited = None
        if self.scope is not None:
            limited = limits.Limits(f"{self.scope.name}/{name}", process.pid, CORES, MEMORY)
        self.services[name] = Running(name, url, process, limited)
        wait_for(port, process, log)

    def _stop(self) -> None:
        for service in self.services.values():
            stop(service.process)
            if service.limits is not None:
                service.limits.remove()
        for backend in ("redis", "postgres"):
            if hasattr(self, backend):
                getattr(self, backend).stop()
        if self.scope is not None:
            self.scope.remove()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def turn(self, service: str, **knobs: str) -> None:
        """Set environment variables of a service while it runs."""
        (await self._http.post(f"{self.services[service].url}/lab/knobs", json=knobs)).raise_for_status()

    async def sql(self, statements: str) -> None:
        """Run statements as the superuser, each in its own transaction."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(self.postgres.admin_url, timeout=5.0)
        try:
            for statement in filter(str.strip, statements.split(";")):
                await connection.execute(statement)
        finally:
            await connection.close()

    async def hold(self, statement: str) -> None:
        """Run a statement in a transaction that stays open."""
        self._held: asyncpg.Connection[Any] = await asyncpg.connect(self.postgres.admin_url, timeout=5.0)
        await self._held.execute("BEGIN")
        await self._held.execute(statement)

    async def let_go(self) -> None:
        """End that transaction, where nobody else did."""
        self._held.terminate()

    def redis_cli(self, *arguments: str) -> None:
        """Run one command of Redis."""
        self.redis.command(*arguments)
