"""A command that waits for a broker says so to who looks."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.announcing import ANNOUNCE, connecting
from pipeline.records import Feedback
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import connection
from pipeline.runtime.control_log import say
from pipeline.settings import load_settings
from pipeline.sources.positions import PositionedPublisher
from pipeline.sources.publisher import Publisher
from pipeline.views.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from pipeline.settings import Settings

NOBODY = "127.0.0.1:9"


async def _hold(client: Any) -> None:
    async with client:
        pass


def _feedback() -> Feedback:
    return Feedback(id="f1", at=datetime.now(UTC), recommendation="r1", verdict="applied")


WAYS: dict[str, Callable[[Settings], Coroutine[Any, Any, None]]] = {
    "topics": lambda at: _hold(ClusterAdmin(at.kafka)),
    "publish, replay": lambda at: _hold(Publisher(connection(at.kafka), "duri.metrics")),
    "bridge, backfill": lambda at: _hold(PositionedPublisher(connection(at.kafka), at, "prometheus")),
    "watch": lambda at: _hold(Subscription(connection(at.kafka), at.topics)),
    "feedback, announce": lambda at: say(at, _feedback(), "/duri/feedback"),
}
"""By what goes there: how it reaches a broker."""


@pytest.mark.parametrize("way", WAYS)
def test_whatever_waits_for_a_broker_says_so(way: str) -> None:
    """A broker that takes the connection and never answers is named, once."""
    said: list[str] = []
    told = asyncio.Event()

    def announce(text: str) -> None:
        said.append(text)
        told.set()

    async def wait() -> str:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ANNOUNCE.set(announce)
        async with server:
            waiting = asyncio.create_task(WAYS[way](load_settings(overrides={"kafka.bootstrap": address})))
            await asyncio.wait_for(told.wait(), 30)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        return address

    assert said == [f"connecting to {asyncio.run(wait())} …"]


def test_a_terminal_is_told_what_is_waited_for() -> None:
    """One line on standard error, ahead of the error that ends the wait."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "topics", "describe", "--bootstrap", NOBODY],
            stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=False,
        )  # fmt: skip
        os.close(theirs)
        said = terminal.read(4096).decode().splitlines()
    assert done.returncode == 1
    assert done.stdout == b""
    assert said[0] == f"connecting to {NOBODY} …"
    assert said[1].startswith("duri: no Kafka broker answers")


def test_a_broker_that_answers_at_once_is_not_spoken_of() -> None:
    """Nothing is said in the first second."""
    said: list[str] = []

    async def quick() -> None:
        ANNOUNCE.set(said.append)
        with connecting(NOBODY):
            await asyncio.sleep(0)
        await asyncio.sleep(1.2)

    asyncio.run(quick())
    assert said == []
