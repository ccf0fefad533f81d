"""Reading the output topics as records: without a group, so that looking changes nothing for anybody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError
from pydantic import ValidationError

from pipeline.announcing import connecting
from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.records import Anomaly, Incident, Muting, Outcome, Recommendation
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.records import Record
    from pipeline.settings import TopicSettings

RECORDS_OF_TOPIC: Mapping[Topic, tuple[type[Record], ...]] = {
    Topic.RECOMMENDATIONS: (Recommendation,),
    Topic.INCIDENTS: (Incident,),
    Topic.OUTCOMES: (Outcome, Muting),
    Topic.ANOMALIES: (Anomaly,),
}
"""The topics that people follow, and what is on each: the usual record first."""

_POLL_MS = 200
_ASSIGNED_S = 10.0
_LOOK_S = 0.02


class Subscription:
    """Committed records of the output topics as they come; use it as an async context manager.

    `client` are the keyword arguments that reach the broker. Reads from now on, or everything with `from_beginning`.
    Raises BrokerUnavailableError where nobody answers, BrokerError where topics are missing.
    """

    def __init__(self, client: Mapping[str, Any], topics: TopicSettings, *, from_beginning: bool = False) -> None:
        self.unreadable = 0
        """Records that were not what their topic promises; they are skipped."""
        self._bootstrap = client.get("bootstrap_servers", "")
        self._protocol = client.get("security_protocol", "PLAINTEXT")
        self._kinds = {topics.name(topic): kinds for topic, kinds in RECORDS_OF_TOPIC.items()}
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
            with connecting(self._bootstrap):
                await self._consumer.start()
            await self._begin()
        except (KafkaConnectionError, TimeoutError) as error:
            await self._consumer.stop()
            raise BrokerUnavailableError.at(self._bootstrap, self._protocol) from error
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

    async def _begin(self) -> None:
        if missing := sorted(self._kinds.keys() - await self._consumer.topics()):
            raise BrokerError(
                f"topics missing on {self._bootstrap}: {', '.join(missing)}; create them with `duri topics create`"
            )
        self._consumer.subscribe(list(self._kinds))
        async with asyncio.timeout(_ASSIGNED_S):
            while not self._consumer.assignment():  # noqa: ASYNC110  the client tells nobody
                await asyncio.sleep(_LOOK_S)
        if not self._from_beginning:
            await self._consumer.seek_to_end()

    def _kind(self, one: Any) -> type[Record]:
        """What the record says that it is; the usual one of its topic where it says nothing that is known."""
        told, kinds = dict(one.headers).get("ce_type", b""), self._kinds[one.topic]
        return next((kind for kind in kinds if kind.event_type().encode() == told), kinds[0])

    def _decode(self, found: Sequence[Any]) -> list[Record]:
        records: list[Record] = []
        for one in found:
            try:
                records.append(self._kind(one).model_validate_json(one.value or b""))
            except ValidationError:
                self.unreadable += 1
        return records
