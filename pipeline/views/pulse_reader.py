"""Feeding a `Pulse` from Kafka: without a group, so that looking changes nothing for anybody."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from pipeline.batch import decode_batch
from pipeline.records import Frame
from pipeline.stage import Topic, header
from pipeline.views.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.settings import TopicSettings
    from pipeline.stage import InputRecord
    from pipeline.views.pulse import Seen

_LOOK_S = 2.0
_ASSIGNED_LOOK_S = 0.02
_FETCH_BYTES = 4 * 1024 * 1024

_FRAME = Frame.event_type().encode()


class _Signal(msgspec.Struct):
    value: float | None
    expected: float | None = None


class _Glance(msgspec.Struct):
    """What of a frame is looked at."""

    service: str
    signals: dict[str, _Signal]


_glance = msgspec.json.Decoder(_Glance).decode
log = structlog.get_logger(__name__)


class PulseReader:
    """Keeps a pulse up to date, in the background while it is open; where the topics may not be read, it gives up.

    `client` are the keyword arguments that reach the broker; `learning_s` is as of `Pulse`.
    """

    def __init__(self, client: Mapping[str, Any], topics: TopicSettings, learning_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._learning_s = learning_s
        self._pulse: Pulse | None = self._begun()
        self._samples, self._frames = topics.name(Topic.SAMPLES), topics.name(Topic.FRAMES)
        self._metrics = topics.name(Topic.METRICS)
        self._consumer = AIOKafkaConsumer(
            **client,
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="latest",
            fetch_max_bytes=_FETCH_BYTES,
        )
        self._task: asyncio.Task[None] | None = None

    def seen(self) -> Seen | None:
        """What is known of the samples now; None where nothing can be."""
        if self._task is not None and self._task.done():
            self._task.result()
        return None if self._pulse is None else self._pulse.seen(self._clock())

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        try:
            await self._consumer.start()
            await self._listen(self._begun())
        except (KafkaError, OSError) as error:
            self._pulse = None
            log.warning("whether samples arrive cannot be seen", topic=self._samples, error=repr(error))
        finally:
            await self._consumer.stop()

    async def _listen(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._consumer.subscribe([self._samples, self._frames, self._metrics])
        while not (assigned := self._consumer.assignment()):  # noqa: ASYNC110  the client tells nobody
            await asyncio.sleep(_ASSIGNED_LOOK_S)
        await self._consumer.seek_to_end()
        metrics = [place for place in assigned if place.topic == self._metrics]
        self._consumer.pause(*metrics)  # of these only how far they reach is asked
        ends = await self._consumer.end_offsets(metrics)
        look_at = self._clock() + _LOOK_S
        while True:
            polled = await self._consumer.getmany(timeout_ms=round(_LOOK_S * 1000))
            for place, records in polled.items():
                take = self._take_frame if place.topic == self._frames else self._take_samples
                for record in records:
                    with suppress(ValueError):  # of what cannot be read detect and advise tell
                        take(pulse, record)
            if self._clock() >= look_at:
                before, ends = ends, await self._consumer.end_offsets(metrics)
                look_at = self._clock() + _LOOK_S
                if ends != before:
                    pulse.message(self._clock())

    def _take_samples(self, pulse: Pulse, record: InputRecord) -> None:
        pulse.take(decode_batch(record.value or b""), self._clock())

    def _take_frame(self, pulse: Pulse, record: InputRecord) -> None:
        if header(record, "ce_type") != _FRAME:
            return
        glance = _glance(record.value or b"")
        known = [signal for signal in glance.signals.values() if signal.value is not None]
        if known:
            pulse.frame(glance.service, self._clock(), learned=any(signal.expected is not None for signal in known))

    def _begun(self) -> Pulse:
        return Pulse(self._clock(), self._learning_s)
