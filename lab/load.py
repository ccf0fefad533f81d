"""Users: asyncio tasks that ask for the health endpoint three times as often as for the status endpoint.

The guide's 50, 200 and 500 users wait one to three seconds; a machine with two cores gets as many users with a fifth
of the wait for the first, and the other two are no scenario for it.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

NORMAL_USERS = 60
_WAIT_S = (0.2, 0.6)
_TIMEOUT_S = 10.0


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
    """Users on some services; `latencies` are (time.time() of the end, service, seconds, failed)."""

    def __init__(self, balancers: dict[str, Balancer], users: int = NORMAL_USERS) -> None:
        self.latencies: list[tuple[float, str, float, bool]] = []
        self._balancers = balancers
        self._users: list[asyncio.Task[None]] = []
        self.set_users(users)

    def set_users(self, users: int) -> None:
        """Have so many users from now on."""
        for user in self._users[users:]:
            user.cancel()
        self._users = self._users[:users]
        self._users += [asyncio.create_task(self._user(number)) for number in range(len(self._users), users)]

    async def stop(self) -> None:
        """Send the users home."""
        for user in self._users:
            user.cancel()
        await asyncio.gather(*self._users, return_exceptions=True)

    def p95(self, service: str, since: float, until: float) -> float | None:
        """95th percentile of the latency that users of a service saw between two moments, in s; None without any."""
        seen = sorted(took for at, name, took, _ in self.latencies if name == service and since <= at < until)
        return seen[int(0.95 * (len(seen) - 1))] if seen else None

    async def _user(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311
        # Half of what comes is for the core; the others share the rest.
        names = list(self._balancers)
        weights = [len(names) - 1 if name == "duri_core" else 1 for name in names]
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            while True:
                await asyncio.sleep(chance.uniform(*_WAIT_S))
                name = chance.choices(names, weights)[0]
                path = "/status" if chance.random() < 0.25 else "/health"
                began = time.time()
                try:
                    with self._balancers[name].chosen() as url:
                        failed = (await client.get(f"{url}{path}")).status_code >= 500
                except httpx.HTTPError:
                    failed = True
                self.latencies.append((time.time(), name, time.time() - began, failed))
