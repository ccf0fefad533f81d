"""Publishing blocks of samples on `duri.metrics`: many samples a message, many messages a batch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from pipeline.announcing import connecting
from pipeline.errors import CREATE_TOPIC, BrokerError, BrokerUnavailableError
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADERS = [("content-type", COLUMNAR_CONTENT_TYPE.encode())]
_MAX_UNCONFIRMED = 64
_BATCH_BYTES = 900_000


class Publisher:
    """A producer that keeps at most so many messages unconfirmed; use it as an async context manager.

    `client` are the keyword arguments that reach the broker (bootstrap servers, security). Messages of one lane stay
    in order. Raises BrokerUnavailableError where nobody answers, BrokerError where the broker refuses a message or
    does not have the topic.
    """

    def __init__(self, client: Mapping[str, Any], topic: str) -> None:
        self.topic = topic
        self._bootstrap = client.get("bootstrap_servers", "")
        self._protocol = client.get("security_protocol", "PLAINTEXT")
        self._producer = AIOKafkaProducer(
            **client,
            enable_idempotence=True,
            compression_type="zstd",
            linger_ms=5,
            max_batch_size=_BATCH_BYTES,
            max_request_size=2 * _BATCH_BYTES,
        )
        self._unconfirmed: list[asyncio.Future[Any]] = []
        self._partitions = 1

    async def __aenter__(self) -> Self:
        try:
            with connecting(self._bootstrap):
                await self._producer.start()
            self._partitions = len(await self._producer.partitions_for(self.topic))
        except KafkaConnectionError as error:
            await self._producer.stop()
            raise BrokerUnavailableError.at(self._bootstrap, self._protocol) from error
        except KafkaError as error:
            await self._producer.stop()
            raise BrokerError(f"{self._bootstrap}: no topic {self.topic}; {CREATE_TOPIC} ({error})") from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._producer.stop()

    async def publish(self, lane: int, message: bytes) -> None:
        """Hand one columnar message to the producer; waits where too many are unconfirmed."""
        await self._send(self.topic, message, _HEADERS, partition=lane % self._partitions)

    async def publish_raw(self, message: bytes, key: str | None, headers: list[tuple[str, bytes]]) -> None:
        """Hand over one message as it is; those without a key all through the first partition, so in order."""
        where: dict[str, Any] = {"partition": 0} if key is None else {"key": key.encode()}
        await self._send(self.topic, message, headers, **where)

    async def publish_record(self, topic: str, key: str, message: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Hand over one message for another topic, with its own key and headers."""
        await self._send(topic, message, headers, key=key.encode())

    async def flush(self) -> None:
        """Wait until the broker has confirmed everything handed over so far."""
        waiting, self._unconfirmed = self._unconfirmed, []
        try:
            await asyncio.gather(*waiting)
        except KafkaError as error:
            raise BrokerError(f"{self.topic}: the broker did not take a message: {error}") from error

    async def _send(self, topic: str, message: bytes, headers: list[tuple[str, bytes]], **where: Any) -> None:
        if len(self._unconfirmed) >= _MAX_UNCONFIRMED:
            await self.flush()
        try:
            sent = await self._producer.send(topic, message, headers=headers, **where)
        except KafkaError as error:
            raise BrokerError(f"{topic}: the broker did not take a message: {error}; check `duri topics`") from error
        self._unconfirmed.append(sent)
