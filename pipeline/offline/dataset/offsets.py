"""Which offsets of Kafka a range of event time lies in.

The flow's topics are stamped with the time of arrival. Ingest lets no sample be further ahead of that than
`ingest.max_future_s`; so what is at or after a range's start lies at or after the first record that arrived so much
before it, which Kafka finds. The end has no such offset, because what is old may arrive at any time: all is read.

Control records are told by people, whenever they like: of these everything is read, and their own time decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeline.errors import BrokerError, FileError
from pipeline.offline.dataset.staging import Reading
from pipeline.records import from_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from pipeline.offline.dataset.manifest import Manifest, PartitionRange
    from pipeline.offline.dataset.staging import Request


class Held(NamedTuple):
    """What Kafka has of a partition: offsets from `first` up to, not including, `end`."""

    first: int
    end: int


class Rules(NamedTuple):
    """What decides where a range begins."""

    untimed: str
    """The topic whose records may speak of any time."""
    ahead_ms: int
    """How far a sample may be ahead of its arrival."""
    allow_missing: bool
    """Whether what is left of a range will do."""


def check_start(manifest: Manifest, request: Request) -> None:
    """An addition may not overlap what the dataset has. Raises FileError."""
    if request.start is None or not manifest.exports:
        return
    span = manifest.span()
    least = manifest.exports[-1].end or (span[1] + 1 if span else 0)
    if request.start < least:
        raise FileError(
            f"--from {from_ms(request.start).isoformat()} lies within what the dataset has, up to "
            f"{from_ms(least).isoformat()}; leave --from out to go on there, or choose a new folder"
        )


async def plan(
    consumer: AIOKafkaConsumer,
    held: Mapping[TopicPartition, Held],
    request: Request,
    manifest: Manifest,
    rules: Rules,
) -> list[Reading]:
    """Where to read each partition.

    Raises BrokerError where Kafka no longer holds the beginning, FileError where the dataset has the range.
    """
    check_start(manifest, request)
    if request.start is not None:
        timed = [place for place in held if place.topic != rules.untimed]
        starts = await _by_time(consumer, timed, held, request.start, rules)
        return [_reading(place, at, starts.get(place, at.first)) for place, at in held.items()]
    before = {(part.topic, part.partition): part for one in manifest.exports for part in one.partitions}
    readings = []
    for place in held:
        known = before.get((place.topic, place.partition))
        start = held[place].first if known is None else _resume(place, held[place], known, rules)
        readings.append(_reading(place, held[place], start, 0 if known is None else known.end))
    return readings


def _reading(place: TopicPartition, held: Held, start: int, known: int = 0) -> Reading:
    return Reading(
        topic=place.topic, partition=place.partition, start=start, next=start, end=max(held.end, start), known=known
    )


async def _by_time(
    consumer: AIOKafkaConsumer,
    places: Sequence[TopicPartition],
    held: Mapping[TopicPartition, Held],
    start: int,
    rules: Rules,
) -> dict[TopicPartition, int]:
    found = await consumer.offsets_for_times(dict.fromkeys(places, max(0, start - rules.ahead_ms)))
    oldest = await consumer.offsets_for_times(dict.fromkeys(places, 0))
    starts = {}
    for place in places:
        at = found.get(place)
        # Where nothing before the start is left, nobody can tell what else is gone. The first offset may be a marker's.
        if at is not None and held[place].first > 0 and at == oldest[place] and not rules.allow_missing:
            raise BrokerError(
                f"{place.topic}/{place.partition}: Kafka holds it from offset {held[place].first} on, which arrived at "
                f"{from_ms(at.timestamp).isoformat()}; retention has removed what was before. Begin more than "
                f"{rules.ahead_ms // 1000} s after that with --from, or give --allow-missing to export what is left"
            )
        starts[place] = held[place].end if at is None else at.offset
    return starts


def _resume(place: TopicPartition, held: Held, known: PartitionRange, rules: Rules) -> int:
    if known.end > held.end:
        raise BrokerError(
            f"{place.topic}/{place.partition}: ends at offset {held.end}, but the dataset has read it up to "
            f"{known.end}: it is another topic of that name; export into a new folder"
        )
    if known.resume < held.first and not rules.allow_missing:
        raise BrokerError(
            f"{place.topic}/{place.partition}: the dataset ends at offset {known.resume}, but Kafka holds it from "
            f"{held.first} on, retention has removed what lies between; give --allow-missing to go on with a gap"
        )
    return max(known.resume, held.first)
