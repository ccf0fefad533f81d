"""Trained models on `duri.control`: what was said of one, saying a move, and hearing what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError
from pydantic import ValidationError

from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.records import ModelAnswer, ModelMove, RetrainingDue, ShadowTally
from pipeline.rights import told
from pipeline.runtime.bounded import read_all
from pipeline.runtime.clients import log_reader
from pipeline.runtime.control_log import say
from pipeline.stage import Topic, header

if TYPE_CHECKING:
    from pipeline.settings import Settings

_POLL_MS: Final = 100
_KINDS = {kind.event_type(): kind for kind in (ModelMove, ModelAnswer, ShadowTally, RetrainingDue)}
_Read = ModelMove | ModelAnswer | ShadowTally | RetrainingDue


@dataclass(slots=True)
class Said:
    """What `duri.control` holds of one model: ids of moves, and the newest tally of each version's seat.

    A version begins anew where it is put into the shadow again, and where another version becomes live beside it.
    """

    ids: set[str] = field(default_factory=set)
    tallies: dict[str, dict[int, ShadowTally]] = field(default_factory=dict)
    due: dict[str, RetrainingDue] = field(default_factory=dict)
    """By version, the last that was said of it."""
    live: str | None = None
    """By the last move."""

    def take(self, record: _Read) -> None:
        """The next record about the model."""
        if isinstance(record, ShadowTally):
            self.tallies.setdefault(record.shadow, {})[record.partition] = record
        elif isinstance(record, RetrainingDue):
            self.due[record.version] = record
        elif isinstance(record, ModelMove):
            if record.id not in self.ids and (record.action == "shadow" or record.live != self.live):
                self.tallies.pop(record.shadow or "", None)
            self.live = record.live
            self.ids.add(record.id)

    def of(self, version: str, live: str | None) -> list[ShadowTally]:
        """The tallies of a version beside this live one, one a partition."""
        # A partition tells of the pair before once more when it takes the move.
        told = sorted(self.tallies.get(version, {}).items())
        return [tally for _, tally in told if tally.live == live]


async def said_of(settings: Settings, model: str) -> Said:
    """What was said of a model so far. Raises BrokerError, BrokerUnavailableError."""
    found = Said()
    async for record in read_all(settings, Topic.CONTROL):
        read = _read(header(record, "ce_type"), record.value)
        if read is not None and read.model == model:
            found.take(read)
    return found


def _read(event_type: bytes | None, value: bytes | None) -> _Read | None:
    kind = _KINDS.get((event_type or b"").decode("utf-8", "replace"))
    if kind is None:
        return None
    try:
        return kind.model_validate_json(value or b"")
    except ValidationError:
        return None


@dataclass(slots=True)
class Heard:
    """Answers to one move: from who hands models out, and from the partitions."""

    partitions: int
    handed_out: ModelAnswer | None = None
    answers: dict[int, ModelAnswer] = field(default_factory=dict)

    @property
    def refused(self) -> list[ModelAnswer]:
        """Those that say no."""
        every = [*([self.handed_out] if self.handed_out else ()), *self.answers.values()]
        return [answer for answer in every if not answer.accepted]

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.refused) or len(self.answers) == self.partitions


async def tell(settings: Settings, move: ModelMove, wait_s: float) -> Heard:
    """Say a move and hear the answers that come within so many seconds.

    Raises BrokerUnavailableError where nobody answers, BrokerError where the broker refuses it.
    """
    heard = Heard(settings.topics.samples_partitions)
    place = TopicPartition(settings.topics.name(Topic.CONTROL), 0)
    try:
        async with log_reader(settings.kafka) as reader:
            reader.assign([place])
            await reader.seek_to_end(place)
            await reader.position(place)
            await say(settings, move, "/duri/models")
            clock = asyncio.get_running_loop().time
            until = clock() + wait_s
            while not heard.complete and clock() < until:
                polled = await reader.getmany(place, timeout_ms=_POLL_MS)
                for record in polled.get(place, ()):
                    _hear(heard, move, _read(header(record, "ce_type"), record.value))
    except KafkaConnectionError as error:
        raise BrokerUnavailableError.at(settings.kafka.bootstrap, settings.kafka.security_protocol) from error
    except KafkaError as error:
        raise BrokerError(f"{settings.kafka.bootstrap}: {place.topic} cannot be used: {told(error)}") from error
    return heard


def _hear(heard: Heard, move: ModelMove, answer: object) -> None:
    if not isinstance(answer, ModelAnswer) or (answer.model, answer.number) != (move.model, move.number):
        return
    if answer.partition is None:
        heard.handed_out = answer
    else:
        heard.answers[answer.partition] = answer
