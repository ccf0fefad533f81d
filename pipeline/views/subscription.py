"""Reading the output topics as records: without a group, so that looking changes nothing for anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from pydantic import ValidationError

from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.records import Anomaly, Incident, Outcome, Recommendation
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.records import Record
    from pipeline.settings import TopicSettings

RECORD_OF_TOPIC: Mapping[Topic, type[Record]] = {
    Topic.RECOMMENDATIONS: Recommendation,
    Topic.INCIDENTS: Incident,
    Topic.OUTCOMES: Outcome,
    Topic.ANOMALIES: Anomaly,
}
"""The topics that people follow, and what is on each."""

_POLL_MS = 200


class Subscription:
    """Committed records of the output topics as they come; use it as an async context manager.

    `client` are the keyword arguments that reach the broker. Reads from now on, or everything with `from_beginning`.
    Raises BrokerUnavailableError where nobody answers, BrokerError where topics are missing.
    """

    def __init__(self, client: Mapping[str, Any], topics: TopicSettings, *, from_beginning: bool = False) -> None:
        self.unreadable = 0
        """Records that were not what their topic promises; they are skipped."""
        self._bootstrap = client.get("bootstrap_servers", "")
        self._kinds = {topics.name(topic): kind for topic, kind in RECORD_OF_TOPIC.items()}
        self._from_beginning = from_beginning
        self._consumer = AIOKafkaConsumer(
            **client,
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_POLL_MS,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            await self._assign()
        except KafkaConnectionError as error:
            raise BrokerUnavailableError(
                f"no broker answers at {self._bootstrap}; start one with `duri broker` or give --bootstrap"
            ) from error
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._consumer.stop()

    async def poll(self) -> list[Record]:
        """The records that have come, in the order of each topic; empty when none came for a fifth of a second."""
        polled = await self._consumer.getmany(timeout_ms=_POLL_MS)
        return [record for found in polled.values() for record in self._decode(found)]

    async def _assign(self) -> None:
        partitions = []
        for name in self._kinds:
            numbers = self._consumer.partitions_for_topic(name) or await self._look_up(name)
            partitions += [TopicPartition(name, number) for number in sorted(numbers)]
        self._consumer.assign(partitions)
        if self._from_beginning:
            await self._consumer.seek_to_beginning(*partitions)
        else:
            await self._consumer.seek_to_end(*partitions)

    async def _look_up(self, name: str) -> set[int]:
        await self._consumer.topics()
        numbers: set[int] | None = self._consumer.partitions_for_topic(name)
        if not numbers:
            raise BrokerError(f"{self._bootstrap}: there is no topic {name}; create it with `duri topics create`")
        return numbers

    def _decode(self, found: Sequence[Any]) -> list[Record]:
        records: list[Record] = []
        for one in found:
            try:
                records.append(self._kinds[one.topic].model_validate_json(one.value or b""))
            except ValidationError:
                self.unreadable += 1
        return records
