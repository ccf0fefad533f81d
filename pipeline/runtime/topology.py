"""The topics of the flow: how each is made, and whether the cluster has them as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka.admin import NewTopic

from pipeline.errors import BrokerError, SettingsError
from pipeline.runtime.admin import DEFAULT_MAX_MESSAGE_BYTES
from pipeline.runtime.snapshots import CHUNK_BYTES
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.runtime.admin import ClusterAdmin
    from pipeline.runtime.outputs import TopicFacts
    from pipeline.runtime.spec import StageSpec
    from pipeline.settings import Settings

_HOUR_MS = 3_600_000
_LONG_MS = 90 * 24 * _HOUR_MS
"""What people come back to is kept for a quarter."""
_LONG_LIVED = {Topic.ANOMALIES, Topic.INCIDENTS, Topic.RECOMMENDATIONS, Topic.OUTCOMES, Topic.CONTROL}
_COUNTED = (Topic.METRICS, Topic.SAMPLES, Topic.FRAMES)
"""The settings must know how many partitions these have: detect waits for each of the first, stages write to the others
by partition number."""


@dataclass(frozen=True, slots=True)
class PlannedTopic:
    """A topic as `topics create` makes it."""

    role: Topic
    name: str
    partitions: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """A planned topic beside the one the cluster has; `partitions` is None where it has none."""

    planned: PlannedTopic
    partitions: int | None
    configs: Mapping[str, str]

    @property
    def differences(self) -> dict[str, tuple[str, str]]:
        """What differs: name of the setting → (wanted, found)."""
        if self.partitions is None:
            return {}
        found = {"partitions": str(self.partitions), **self.configs}
        wanted = {"partitions": str(self.planned.partitions), **self.planned.configs}
        return {name: (value, found[name]) for name, value in wanted.items() if found.get(name, value) != value}


def plan_topics(settings: Settings) -> list[PlannedTopic]:
    """Every topic of the flow; `extra_inputs` are other people's and left alone."""
    return [
        PlannedTopic(role, settings.topics.name(role), settings.topics.partitions(role), _configs(settings, role))
        for role in Topic
    ]


def _configs(settings: Settings, role: Topic) -> dict[str, str]:
    if role is Topic.POSITIONS:
        # A few bytes a source, kept for ever; closed segments are compacted.
        daily = str(24 * _HOUR_MS)
        return {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", "segment.ms": daily}
    if role is Topic.STATE:
        return {
            "cleanup.policy": "compact",
            # Only closed segments are compacted: small ones keep old snapshots from piling up.
            "segment.bytes": str(64 * 1024 * 1024),
            "segment.ms": str(_HOUR_MS),
            "min.cleanable.dirty.ratio": "0.2",
            # A reader may be at a snapshot that was replaced a moment ago.
            "min.compaction.lag.ms": str(300_000),
            "delete.retention.ms": str(_HOUR_MS),
        }
    retention = round(settings.topics.retention_hours * _HOUR_MS)
    configs = {
        "retention.ms": str(max(retention, _LONG_MS) if role in _LONG_LIVED else retention),
        # Event time may be years old (a backfill) or ahead: by it the broker would delete or refuse records.
        # Append time also tells how long a partition has been idle.
        "message.timestamp.type": "LogAppendTime",
    }
    if role is not Topic.METRICS:
        # What came in must fit again, with headers around it (dead letters) or as a column batch.
        largest = 2 * max(DEFAULT_MAX_MESSAGE_BYTES, settings.runtime.max_batch_bytes)
        configs["max.message.bytes"] = str(largest)
    return configs


async def create_topics(admin: ClusterAdmin, settings: Settings) -> dict[str, bool]:
    """Create what is missing; False for topics that existed. Raises BrokerError where the broker refuses."""
    factor = settings.topics.replication_factor
    return await admin.create(
        [
            # aiokafka takes "the broker's default" (-1) only together with an (empty) list of replicas.
            NewTopic(topic.name, topic.partitions, factor, {} if factor == -1 else None, dict(topic.configs))
            for topic in plan_topics(settings)
        ]
    )


async def describe_topics(admin: ClusterAdmin, settings: Settings) -> list[TopicStatus]:
    """Every topic of the flow beside what the cluster has."""
    planned = plan_topics(settings)
    facts = await admin.facts([topic.name for topic in planned])
    return [
        TopicStatus(topic, facts[topic.name].partitions, facts[topic.name].configs)
        if topic.name in facts
        else TopicStatus(topic, None, {})
        for topic in planned
    ]


async def check_topics(admin: ClusterAdmin, settings: Settings, stages: Sequence[StageSpec]) -> dict[str, TopicFacts]:
    """What these stages need of the cluster, by topic name.

    Raises BrokerError where topics are missing or too narrow, SettingsError where partitions are not as set.
    """
    state = settings.topics.name(Topic.STATE)
    names = {state}.union(*((*spec.inputs, *spec.outputs.values()) for spec in stages))
    facts = await admin.facts(names)
    if missing := sorted(names - facts.keys()):
        raise BrokerError(
            f"topics missing on {settings.kafka.bootstrap}: {', '.join(missing)}; create them with `duri topics create`"
        )
    if facts[state].max_message_bytes < CHUNK_BYTES + 1024:
        raise BrokerError(
            f"{state} takes messages of {facts[state].max_message_bytes} bytes only: "
            f"set its max.message.bytes to {DEFAULT_MAX_MESSAGE_BYTES}"
        )
    for role in _COUNTED:
        name, wanted = settings.topics.name(role), settings.topics.partitions(role)
        if name in facts and facts[name].partitions != wanted:
            raise SettingsError(
                f"topics.{role}_partitions is {wanted}, but {name} has {facts[name].partitions} partitions: "
                "set it to what the topic has"
            )
    return facts
