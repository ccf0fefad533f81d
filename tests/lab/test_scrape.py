"""What a scrape of a running lab holds, under the exporters' names."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from lab.scrape import Scraper
from lab.system import Lab

if TYPE_CHECKING:
    from lab.samples import Row

CORE = "duri_core"


async def scrapes() -> tuple[list[Row], list[Row], bool]:
    """One of a lab whose pools have found a dead connection, one before; whether PostgreSQL counts statements."""
    async with Lab() as lab:
        scraper = Scraper(lab)
        before = await scraper.scrape(0)
        await lab.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        await lab.turn(CORE, None, CACHE_ENABLED="0")
        async with httpx.AsyncClient() as http:
            await http.post(f"{lab.services[CORE][0].url}/lab/warm")  # asks the database for each item
        after = await scraper.scrape(1000)
        await scraper.close()
        return before, after, lab.postgres.counts_statements


@pytest.mark.usefixtures("backends")
def test_a_scrape_has_what_the_rules_ask_for() -> None:
    """Redis' CPU and persistence, the pool's settings and dead connections, statements where they are counted."""
    before, after, counts = asyncio.run(scrapes())
    first = {one.name: one.value for one in before if one.service == CORE}
    assert first["db_pool_pre_ping"] == 1.0
    assert first["db_pool_recycle_seconds"] == 3600.0
    assert first["redis_rdb_last_bgsave_status"] == 1.0
    assert first["redis_rdb_bgsave_in_progress"] == first["redis_aof_enabled"] == 0.0
    assert first["redis_cpu_user_seconds_total"] + first["redis_cpu_sys_seconds_total"] > 0.0
    dead = {one.ts: one.value for one in (*before, *after) if one[1:3] == (CORE, "db_pool_invalidated_total")}
    assert dead[0] == 0.0
    assert dead[1000] >= 1.0
    calls = [one for one in after if one[1:3] == (CORE, "pg_stat_statements_calls_total")]
    assert bool(calls) is counts
    seconds = [one for one in after if one[1:3] == (CORE, "pg_stat_statements_seconds_total")]
    assert [one.labels for one in calls] == [one.labels for one in seconds]
    assert all('"user": "app"' in one.labels for one in calls)
