"""Publishing samples together with how far their source has been read, so that none is lost and none doubled.

A source that can be read again from any time (Prometheus) keeps its position on the compacted topic `duri.positions`,
under its name. The steps of a publication:

    1 fence    starting the producer ends whoever publishes under the same name; its open transaction is settled
    2 read     the newest position of that name: everything up to it was published
    3 publish  messages and the position they reach, in one transaction

With `guarantee: at_least_once` step 3 writes the messages first and then the position: what a crash between the two
repeats is dropped by detect, because the time of each series moves forward.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaConnectionError, KafkaError, ProducerFenced

from pipeline.announcing import connecting
from pipeline.errors import CREATE_TOPIC, BrokerError, BrokerUnavailableError, FencedError, StateError
from pipeline.rights import told
from pipeline.settings import Guarantee
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pipeline.settings import Settings

_HEADERS = [("content-type", COLUMNAR_CONTENT_TYPE.encode())]
_BATCH_BYTES = 900_000
_POLL_MS = 200
_PATIENCE_S = 30.0

Result = TypeVar("Result")


class Position(msgspec.Struct, frozen=True):
    """How far a source was read; `until_ms` is the newest time that was published completely."""

    until_ms: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Position).decode


class PositionedPublisher:
    """Publishes for one source by its name; use it as an async context manager.

    `client` are the keyword arguments that reach the broker. After any error leave it and enter a new one: the position
    says what was published. Raises BrokerUnavailableError where nobody answers, FencedError where another publisher of
    the same name took over, BrokerError where a topic is missing or the broker refuses.
    """

    def __init__(self, client: Mapping[str, Any], settings: Settings, source: str) -> None:
        self.position: Position | None = None
        """Up to where the source was published; None where it never was."""
        self._source = source
        self._client = dict(client)
        self._metrics = settings.topics.name(Topic.METRICS)
        self._positions = TopicPartition(settings.topics.name(Topic.POSITIONS), 0)
        self._transactional = settings.runtime.guarantee is Guarantee.EXACTLY_ONCE
        self._partitions = 1
        self._producer = AIOKafkaProducer(
            **client,
            transactional_id=f"{settings.runtime.group}.source.{source}" if self._transactional else None,
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            linger_ms=5,
            max_batch_size=_BATCH_BYTES,
            max_request_size=2 * _BATCH_BYTES,
        )

    async def __aenter__(self) -> Self:
        try:
            with connecting(self._client["bootstrap_servers"]):
                await self._told(self._producer.start)  # 1 fence
            for topic in (self._metrics, self._positions.topic):
                await self._exists(topic)
            self._partitions = len(await self._producer.partitions_for(self._metrics))
            self.position = await self._told(self._newest)  # 2 read
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._producer.stop()

    async def publish(self, messages: Sequence[tuple[int, bytes]], position: Position) -> None:
        """Write (lane, columnar message)s and the position that they reach: all or nothing."""
        await self._told(lambda: self._publish(messages, position))  # 3 publish
        self.position = position

    async def _publish(self, messages: Sequence[tuple[int, bytes]], position: Position) -> None:
        if not self._transactional:
            await self._send_samples(messages)
            await self._send_position(position)
            return
        async with self._producer.transaction():
            await self._send_samples(messages)
            await self._send_position(position)

    async def _send_samples(self, messages: Sequence[tuple[int, bytes]]) -> None:
        # A commit alone does not tell that a send in it failed: each is awaited.
        sent = [
            await self._producer.send(self._metrics, message, headers=_HEADERS, partition=lane % self._partitions)
            for lane, message in messages
        ]
        await asyncio.gather(*sent)

    async def _send_position(self, position: Position) -> None:
        await self._producer.send_and_wait(
            self._positions.topic, _encode(position), key=self._source.encode(), partition=0
        )

    async def _exists(self, topic: str) -> None:
        try:
            await self._producer.partitions_for(topic)
        except KafkaError as error:
            raise BrokerError(
                f"{self._client['bootstrap_servers']}: no topic {topic}; {CREATE_TOPIC} ({error})"
            ) from error

    async def _newest(self) -> Position | None:
        """The newest committed position of this source: the topic is compacted, so it is short."""
        consumer = AIOKafkaConsumer(**self._client, isolation_level="read_committed", auto_offset_reset="earliest")
        found = None
        await consumer.start()
        try:
            consumer.assign([self._positions])
            end = (await consumer.end_offsets([self._positions]))[self._positions]
            async with asyncio.timeout(_PATIENCE_S):
                while await consumer.position(self._positions) < end:
                    for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                        found = next((one.value for one in reversed(records) if one.key == self._key), found)
        finally:
            await consumer.stop()
        return None if found is None else self._read(found)

    @property
    def _key(self) -> bytes:
        return self._source.encode()

    def _read(self, value: bytes) -> Position:
        try:
            return _decode(value)
        except msgspec.DecodeError as error:
            raise StateError(
                f"{self._positions.topic}: the position of {self._source} is not one: {value[:80]!r} ({error}); "
                "give the source another --name"
            ) from error

    async def _told(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do the work, and speak of what Kafka raises in our own terms."""
        bootstrap = self._client["bootstrap_servers"]
        try:
            return await work()
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise FencedError(f"another bridge or backfill of {self._source} took over; this one ends") from error
        except (KafkaConnectionError, TimeoutError) as error:
            protocol = self._client.get("security_protocol", "PLAINTEXT")
            raise BrokerUnavailableError.at(bootstrap, protocol) from error
        except KafkaError as error:
            kind = BrokerUnavailableError if error.retriable else BrokerError
            raise kind(f"{bootstrap}: {self._metrics} is not written: {told(error)}") from error
