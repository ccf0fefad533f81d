"""From the buffer to Kafka: one message after the other, again and again while the broker does not take it."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from pipeline.client.messages import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.client.buffer import Buffer

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_HEADERS = [("content-type", CONTENT_TYPE.encode())]

log = logging.getLogger(__name__)


class _NoTopicError(Exception):
    """The topic is not there."""


class Delivery:
    """Sends what the buffer holds; a broker that is away is tried again later and later, with jitter."""

    def __init__(self, client: Mapping[str, Any], topic: str, buffer: Buffer) -> None:
        self.sent = 0
        """Samples that the broker has confirmed."""
        self.failures = 0
        """Times that the broker did not take a message."""
        self.work = asyncio.Event()
        """Set where the buffer has something new."""
        self._client = client
        self._topic = topic
        self._buffer = buffer
        self._producer: AIOKafkaProducer | None = None
        self._wait_s = _FIRST_WAIT_S
        self._is_missed = False
        self._idle = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            while len(self._buffer):
                self._idle.clear()
                await self._deliver_or_wait()
            self._idle.set()
            self.work.clear()
            await self.work.wait()

    async def drained(self) -> None:
        """Wait until the buffer is empty."""
        self._idle.clear()
        self.work.set()
        await self._idle.wait()

    async def close(self) -> None:
        """Close the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _deliver_or_wait(self) -> None:
        try:
            await self._deliver()
        except MessageSizeTooLargeError:
            self.failures += 1
            log.warning("a message of metrics is too large for %s; it is given up", self._topic)
            self._buffer.drop()
        except _NoTopicError:
            if not self._is_missed:
                log.warning(
                    "there is no topic %s on %s, or this client may not see it; `duri topics create` makes it, "
                    "and until then metrics wait (the oldest go where they are too many)",
                    self._topic, self._client["bootstrap_servers"],
                )  # fmt: skip
            self._is_missed = True
            await self._wait(self._next_wait_s())
        except Exception as error:  # noqa: BLE001  whatever the client raises must not end the publishing
            wait_s = self._next_wait_s()
            log.warning(
                "metrics do not reach %s on %s (%r); trying again in %.1f s, %d samples wait",
                self._topic, self._client["bootstrap_servers"], error, wait_s, self._buffer.samples,
            )  # fmt: skip
            await self._wait(wait_s)

    def _next_wait_s(self) -> float:
        wait_s = random.uniform(self._wait_s / 2, self._wait_s)  # noqa: S311  jitter, no secret
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
        return wait_s

    async def _wait(self, wait_s: float) -> None:
        self.failures += 1
        await self._quiet_close()
        await asyncio.sleep(wait_s)

    async def _deliver(self) -> None:
        producer = await self._connected()
        message = self._buffer.first()
        await producer.send_and_wait(self._topic, message.value, key=message.service.encode(), headers=_HEADERS)
        self._wait_s, self._is_missed = _FIRST_WAIT_S, False
        self.sent += message.samples
        self._buffer.done(message)

    async def _connected(self) -> AIOKafkaProducer:
        if self._producer is None:
            producer = AIOKafkaProducer(**self._client, enable_idempotence=True, compression_type="zstd")
            try:
                await producer.start()
                await self._check_topic(producer)
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _check_topic(self, producer: AIOKafkaProducer) -> None:
        """Raises _NoTopicError where it is not there: asked for one, aiokafka says so ten times a second."""
        cluster = await producer.client.fetch_all_metadata()
        if self._topic not in cluster.topics():
            raise _NoTopicError(self._topic)

    async def _quiet_close(self) -> None:
        try:
            await self.close()
        except Exception as error:  # noqa: BLE001  it is given up anyway
            log.debug("closing failed: %r", error)
