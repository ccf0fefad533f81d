"""Purging dead letters: they are neither shown nor sent back any more, and deleted as soon as that is possible.

Kafka deletes a partition's records only up to an offset, so those of one reason may have to wait for older ones. The
steps, for each partition:

    1 remember  what is purged, as what the group `<group>.deadletter.purge` has committed (`deadletter_memory.py`)
    2 delete    everything before the first letter that is not purged

A crash in between leaves letters that nobody sees; the next purge deletes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from pipeline.errors import BrokerError
from pipeline.rights import told
from pipeline.runtime import clients

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from pipeline.runtime.deadletter_log import DeadLetterLog
    from pipeline.runtime.deadletter_memory import Memory, Selection
    from pipeline.settings import Settings


async def purge(settings: Settings, log: DeadLetterLog, selection: Selection, before_ms: int | None = None) -> None:
    """Purge the selected letters that are older than a time (ms), or all of them.

    `selection.replayed` takes those that were sent back. Raises BrokerError where Kafka refuses.
    """
    keeper = AIOKafkaConsumer(
        client_id=log.purge_group,
        group_id=log.purge_group,
        enable_auto_commit=False,
        **clients.connection(settings.kafka),
    )
    try:
        await keeper.start()
        keeper.assign(log.places)
        for place in log.places:
            memory = await _purged(log, place, selection, before_ms)
            await keeper.commit({place: memory.stored()})  # 1 remember
            log.forget(place, memory)
            await log.admin.delete_before(place, await _first_left(log, place))  # 2 delete
    except KafkaError as error:
        raise BrokerError(f"{log.topic} cannot be purged: {told(error)}") from error
    finally:
        await keeper.stop()


async def _purged(log: DeadLetterLog, place: TopicPartition, selection: Selection, before_ms: int | None) -> Memory:
    """What is purged of this partition, afterwards. Raises StateError beyond the letters that can be remembered."""
    memory = await log.memory(place, log.purge_group)
    if selection.replayed:
        return memory.joined(await log.memory(place, log.group))
    if selection.single is not None and selection.single[0] != place.partition:
        return memory
    return memory.after(selection, log.end(place) if before_ms is None else await log.first_at(place, before_ms))


async def _first_left(log: DeadLetterLog, place: TopicPartition) -> int:
    """Offset of the first letter that stays; the end where none does."""
    async for letters, _ in log.read(place, 0):
        if letters:
            return letters[0].offset
    return log.end(place)
