"""Waiting until stages have committed everything that there is for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.clients import log_reader
from pipeline.runtime.context import group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaConsumer

    from pipeline.runtime.spec import StageSpec
    from pipeline.settings import Settings

_LOOK_S = 0.2


async def drained(settings: Settings, specs: Sequence[StageSpec]) -> None:
    """Wait until each stage in turn has committed past the last record of each of its inputs.

    End offsets count transaction markers, so the records themselves are looked for; those of a transaction whose marker
    is still on its way are there too.
    """
    async with (
        log_reader(settings.kafka) as reader,
        log_reader(settings.kafka, isolation="read_uncommitted") as open_reader,
        ClusterAdmin(settings.kafka) as admin,
    ):
        look = _Look(reader, open_reader, admin)
        for spec in specs:
            facts = await admin.facts(spec.inputs)
            for name in spec.inputs:
                for number in range(facts[name].partitions):
                    await look.until_passed(group_of(settings, spec), TopicPartition(name, number))


class _Look:
    """Looks for records that no group has committed yet."""

    def __init__(self, reader: AIOKafkaConsumer, open_reader: AIOKafkaConsumer, admin: ClusterAdmin) -> None:
        self._reader = reader
        self._open_reader = open_reader
        self._admin = admin

    async def until_passed(self, group: str, source: TopicPartition) -> None:
        """Wait until no record of this partition lies at or after what the group has committed."""
        self._reader.assign([source])
        while True:
            committed = await self._admin.committed(group, source)
            if not await self._has_records(source, committed.offset if committed is not None else 0):
                return
            await asyncio.sleep(_LOOK_S)

    async def _has_records(self, source: TopicPartition, offset: int) -> bool:
        """Whether there is a record from this offset on; a poll that brings none in its time proves nothing."""
        end = (await self._open_reader.end_offsets([source]))[source]
        self._reader.seek(source, offset)
        while await self._reader.position(source) < end:
            if await self._reader.getmany(source, timeout_ms=round(_LOOK_S * 1000), max_records=1):
                return True
        return False
