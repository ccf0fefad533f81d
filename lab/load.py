"""Users: asyncio tasks that ask for the health endpoint three times as often as for the status endpoint.

The guide's 50, 200 and 500 users wait one to three seconds; a machine with two cores gets as many users with a fifth
of the wait for the first, and the other two are no scenario for it.
"""

from __future__ import annotations

import asyncio
import random
import time

import httpx

NORMAL_USERS = 60
_WAIT_S = (0.2, 0.6)
_TIMEOUT_S = 10.0


class Load:
    """Users on some services; `latencies` are (time.time() of the end, service, seconds, failed)."""

    def __init__(self, urls: dict[str, str], users: int = NORMAL_USERS) -> None:
        self.latencies: list[tuple[float, str, float, bool]] = []
        self._urls = urls
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

    def p95(self, service: str, since: float, until: float) -> float:
        """95th percentile of the latency that users of a service saw between two moments, in s; NaN for none."""
        seen = sorted(took for at, name, took, _ in self.latencies if name == service and since <= at < until)
        return seen[int(0.95 * (len(seen) - 1))] if seen else float("nan")

    async def _user(self, number: int) -> None:
        chance = random.Random(number)  # noqa: S311
        # Half of what comes is for the core; the others share the rest.
        names = list(self._urls)
        weights = [len(names) - 1 if name == "duri_core" else 1 for name in names]
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            while True:
                await asyncio.sleep(chance.uniform(*_WAIT_S))
                name = chance.choices(names, weights)[0]
                path = "/status" if chance.random() < 0.25 else "/health"
                began = time.time()
                try:
                    failed = (await client.get(f"{self._urls[name]}{path}")).status_code >= 500
                except httpx.HTTPError:
                    failed = True
                self.latencies.append((time.time(), name, time.time() - began, failed))
