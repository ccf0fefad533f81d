"""A recorded run of the lab by way of Kafka: a broker, `duri run` as in production, and what it publishes."""

from __future__ import annotations

import asyncio
import os
import signal
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab.announcements import applied
from lab.backends import LabError
from lab.kafka_desk import KafkaDesk
from lab.recordings import story_of
from lab.samples import read
from lab.scenarios import USUAL

if TYPE_CHECKING:
    from lab.ledger import Seen

IDLE_S = 6.0
"""Longer than `runtime.tick_after_s`: each partition has said by then that there is nothing in it."""
RECORDINGS = Path(__file__).parents[2] / "lab" / "recordings"


async def replayed(path: Path) -> Seen:
    """Publish the run; the answer is given when it was. Returns all that was said."""
    story, rows = story_of(path), read(path)
    async with KafkaDesk(USUAL) as desk:
        await asyncio.sleep(IDLE_S)  # as on a busy machine
        await desk.begin([one for one in rows if one.ts < story.injected_at])
        seen = await desk.end_healthy()
        told = story.applied_at is None
        for ts, scrape in groupby((one for one in rows if one.ts >= story.injected_at), key=lambda one: one.ts):
            if not told and story.applied_at is not None and ts > story.applied_at:
                seen = await desk.caught_up()
                assert seen.first is not None
                await desk.tell(applied(str(seen.first["id"]), story.applied_at), story.applied_at)
                await desk.caught_up()
                told = True
            await desk.take(list(scrape))
        return await desk.caught_up()


def test_a_recorded_run_gets_its_advice_and_its_verdict_by_kafka() -> None:
    """Published scrape by scrape; the answer goes by `duri.control`, the verdict comes by `duri.outcomes`."""
    seen = asyncio.run(replayed(RECORDINGS / "cpu-limit-nothing.parquet"))
    assert seen.first is not None
    assert (seen.first["why"]["findings"], seen.first["kind"]) == (["CONTAINER_CPU_THROTTLED"], "container.cpu_limit")
    assert seen.early == []
    outcome = seen.outcome(seen.first["id"])
    assert outcome is not None
    assert outcome["result"] == "no_effect"


def test_a_worker_that_ends_is_told_and_not_waited_for() -> None:
    """The error has what it ended with."""

    async def bereaved() -> None:
        async with KafkaDesk(USUAL) as desk:
            os.kill(desk.worker_pid, signal.SIGKILL)
            await desk.caught_up()

    with pytest.raises(LabError, match="the worker ended with -9"):
        asyncio.run(bereaved())
