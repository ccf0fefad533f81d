"""Publishing blocks of samples on `duri.metrics`: many samples a message, many messages a batch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.sources.columnar import COLUMNAR_CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADERS = [("content-type", COLUMNAR_CONTENT_TYPE.encode())]
_MAX_UNCONFIRMED = 64
_BATCH_BYTES = 900_000


class Publisher:
    """A producer that keeps at most so many messages unconfirmed; use it as an async context manager.

    `client` are the keyword arguments that reach the broker (bootstrap servers, security). Messages of one key stay
    in order. Raises BrokerUnavailableError where nobody answers, BrokerError where the broker refuses a message.
    """

    def __init__(self, client: Mapping[str, Any], topic: str) -> None:
        self.topic = topic
        self._bootstrap = client.get("bootstrap_servers", "")
        self._producer = AIOKafkaProducer(
            **client,
            enable_idempotence=True,
            compression_type="zstd",
            linger_ms=5,
            max_batch_size=_BATCH_BYTES,
            max_request_size=2 * _BATCH_BYTES,
        )
        self._unconfirmed: list[asyncio.Future[Any]] = []

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except KafkaConnectionError as error:
            raise BrokerUnavailableError(
                f"no broker answers at {self._bootstrap}; start one with `duri broker` or give --bootstrap"
            ) from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._producer.stop()

    async def publish(self, key: str, message: bytes) -> None:
        """Hand one columnar message to the producer; waits where too many are unconfirmed."""
        await self._send(self.topic, key, message, _HEADERS)

    async def publish_record(self, topic: str, key: str, message: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Hand over one message for another topic, with its own headers."""
        await self._send(topic, key, message, headers)

    async def flush(self) -> None:
        """Wait until the broker has confirmed everything handed over so far."""
        waiting, self._unconfirmed = self._unconfirmed, []
        try:
            await asyncio.gather(*waiting)
        except KafkaError as error:
            raise BrokerError(f"{self.topic}: the broker did not take a message: {error}") from error

    async def _send(self, topic: str, key: str, message: bytes, headers: list[tuple[str, bytes]]) -> None:
        if len(self._unconfirmed) >= _MAX_UNCONFIRMED:
            await self.flush()
        try:
            sent = await self._producer.send(topic, message, key=key.encode(), headers=headers)
        except KafkaError as error:
            raise BrokerError(f"{topic}: the broker did not take a message: {error}; check `duri topics`") from error
        self._unconfirmed.append(sent)
