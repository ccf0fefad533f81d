"""Where partitions end for a reader of committed records, with what was committed a moment ago.

Kafka answers a commit before its marker is in every partition, and such a reader stops at the first record that waits
for one. So whoever reads straight after a commit would see nothing of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.runtime.clients import log_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from pipeline.settings import KafkaSettings

SETTLE_S: Final = 5.0
"""Most that open transactions are waited for: a producer that died leaves one open until Kafka aborts it."""
_LOOK_S: Final = 0.02


async def settled_ends(
    reader: AIOKafkaConsumer, kafka: KafkaSettings, places: Sequence[TopicPartition], within_s: float = SETTLE_S
) -> dict[TopicPartition, int]:
    """The offset that follows the last committed record of each partition.

    Transactions that are open when it is asked are waited for, `within_s` seconds at most; later ones are not.
    """
    async with log_reader(kafka, isolation="read_uncommitted") as open_reader:
        written = await open_reader.end_offsets(places)
    clock = asyncio.get_running_loop().time
    until = clock() + within_s
    while True:
        ends: dict[TopicPartition, int] = await reader.end_offsets(places)
        if all(ends[place] >= written[place] for place in places) or clock() >= until:
            return ends
        await asyncio.sleep(_LOOK_S)
