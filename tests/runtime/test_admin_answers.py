"""What is said of a broker that answers, but not yet what was asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, TopicAuthorizationFailedError

from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.runtime import admin as module
from pipeline.runtime.admin import ClusterAdmin
from pipeline.settings import KafkaSettings


class Broker:
    """A client whose broker knows nothing of a group's offsets, or refuses with an error."""

    def __init__(self, error: KafkaError | None) -> None:
        self.error = error

    async def start(self) -> None:
        """Connected."""

    async def close(self) -> None:
        """Gone."""

    async def list_consumer_group_offsets(self, *_: Any, **__: Any) -> dict[TopicPartition, Any]:
        if self.error is not None:
            raise self.error
        return {}


def refused(monkeypatch: pytest.MonkeyPatch, error: KafkaError | None) -> BrokerError:
    monkeypatch.setattr(module, "admin_client", lambda _: Broker(error))

    async def ask() -> None:
        async with ClusterAdmin(KafkaSettings(bootstrap="kafka:9092")) as admin:
            await admin.committed("duri.ingest", TopicPartition("duri.metrics", 0))

    with pytest.raises(BrokerError) as raised:
        asyncio.run(ask())
    return raised.value


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "the coordinator of group duri.ingest is still loading its offsets, or has moved"),
        (GroupCoordinatorNotAvailableError(), "it answers GroupCoordinatorNotAvailableError"),
    ],
)
def test_a_coordinator_that_is_not_ready_is_no_missing_broker(
    monkeypatch: pytest.MonkeyPatch, error: KafkaError | None, words: str
) -> None:
    """It is said that the broker is there, what it waits for, and that trying again helps."""
    said = refused(monkeypatch, error)
    assert isinstance(said, BrokerUnavailableError)
    assert "the Kafka broker at kafka:9092 is there but not ready" in str(said)
    assert words in str(said)
    assert str(said).endswith("try again in a few seconds")


def test_a_missing_right_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to grant stands beside what Kafka says; trying again does not help."""
    said = refused(monkeypatch, TopicAuthorizationFailedError("duri.metrics"))
    assert not isinstance(said, BrokerUnavailableError)
    assert "grant it Read, Write and Describe on the topics" in str(said)
