"""Users: asyncio tasks that ask for the health endpoint three times as often as for the status endpoint."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.scenarios import Scenario

_TIMEOUT_S = 10.0
_COMING_PER_S = 50.0
"""Users do not come all at once."""


class Balancer:
    """Spreads a service's requests over its replicas: in turn, or to the one that has the fewest under way."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.least_connections = False
        self._under_way: dict[str, int] = {}
        self._turn = 0

    @contextmanager
    def chosen(self) -> Iterator[str]:
        """The replica for one request."""
        self._turn += 1
        # The turn breaks ties, else the first one would get all that comes to idle replicas.
        ordered = [self.urls[(self._turn + place) % len(self.urls)] for place in range(len(self.urls))]
        url = min(ordered, key=lambda one: self._under_way.get(one, 0)) if self.least_connections else ordered[0]
        self._under_way[url] = self._under_way.get(url, 0) + 1
        try:
            yield url
        finally:
            self._under_way[url] -= 1


class Load:
    """A scenario's users on some services; `latencies` are (time.time() of the end, service, seconds, failed)."""

    def __init__(self, balancers: dict[str, Balancer], scenario: Scenario) -> None:
        self.latencies: list[tuple[float, str, float, bool]] = []
        self._balancers = balancers
        self._scenario = scenario
        # Made once: each would take 20 ms, in which no other user gets its turn.
        self._trust = httpx.create_ssl_context()
        self._users: list[asyncio.Task[None]] = []
        self.multiply(1.0)

    @property
    def coming_s(self) -> float:
        """How long it takes until all users of the scenario are there."""
        return self._scenario.users / _COMING_PER_S

    def multiply(self, times: float) -> None:
        """Have so many times the scenario's users; who is new comes one after the other, who leaves goes at once."""
        users, present = round(times * self._scenario.users), len(self._users)
        for user in self._users[users:]:
            user.cancel()
        self._users = self._users[:users]
        self._users += [
            asyncio.create_task(self._user(number, (number - present) / _COMING_PER_S))
            for number in range(present, users)
        ]

    async def stop(self) -> None:
        """Send the users home."""
        for user in self._users:
            user.cancel()
        await asyncio.gather(*self._users, return_exceptions=True)

    def p95(self, service: str, since: float, until: float) -> float | None:
        """95th percentile of the latency that users of a service saw between two moments, in s; None without any."""
        seen = sorted(took for at, name, took, _ in self.latencies if name == service and since <= at < until)
        return seen[int(0.95 * (len(seen) - 1))] if seen else None

    def forget(self, until: float) -> None:
        """Let go of what was seen before that moment."""
        self.latencies = [one for one in self.latencies if one[0] >= until]

    async def _user(self, number: int, comes_in_s: float) -> None:
        await asyncio.sleep(comes_in_s)
        chance = random.Random(number)  # noqa: S311
        # Half of what comes is for the core; the others share the rest.
        names = list(self._balancers)
        weights = [len(names) - 1 if name == "duri_core" else 1 for name in names]
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, verify=self._trust) as client:
            while True:
                await asyncio.sleep(chance.uniform(*self._scenario.wait_s))
                name = chance.choices(names, weights)[0]
                path = "/status" if chance.random() < 0.25 else "/health"
                began = time.time()
                try:
                    with self._balancers[name].chosen() as url:
                        failed = (await client.get(f"{url}{path}")).status_code >= 500
                except httpx.HTTPError:
                    failed = True
                self.latencies.append((time.time(), name, time.time() - began, failed))
