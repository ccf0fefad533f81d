"""Waiting until stages have committed everything that there is for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import log_reader
from pipeline.runtime.context import group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.runtime.spec import StageSpec
    from pipeline.settings import Settings

_LOOK_S = 0.2


async def drained(settings: Settings, specs: Sequence[StageSpec]) -> None:
    """Wait until each stage in turn has committed past the last record of each of its inputs.

    End offsets count transaction markers, so the records themselves are looked for.
    """
    reader = log_reader(settings.kafka)
    await reader.start()
    try:
        async with ClusterAdmin(settings.kafka) as admin:
            for spec in specs:
                facts = await admin.facts(spec.inputs)
                for name in spec.inputs:
                    for number in range(facts[name].partitions):
                        source = TopicPartition(name, number)
                        reader.assign([source])
                        await _passed(reader, admin, group_of(settings, spec), source)
    finally:
        await reader.stop()


async def _passed(reader: Any, admin: ClusterAdmin, group: str, source: TopicPartition) -> None:
    """Wait until no record of this partition lies at or after what the group has committed."""
    while True:
        committed = await admin.committed(group, source)
        if not await _has_records(reader, source, committed.offset if committed is not None else 0):
            return
        await asyncio.sleep(_LOOK_S)


async def _has_records(reader: Any, source: TopicPartition, offset: int) -> bool:
    """Whether there is a record from this offset on; a poll that brings none in its time proves nothing."""
    end = (await reader.end_offsets([source]))[source]
    reader.seek(source, offset)
    while await reader.position(source) < end:
        if await reader.getmany(source, timeout_ms=round(_LOOK_S * 1000), max_records=1):
            return True
    return False
