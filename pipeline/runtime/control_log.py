"""Saying something on `duri.control`: feedback, changes, maintenance windows, mutes, moves of trained models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError

from pipeline.announcing import connecting
from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.records import (
    ChangeEvent,
    Feedback,
    MaintenanceWindow,
    ModelMove,
    Muting,
    cloudevent_headers,
    to_ms,
)
from pipeline.rights import told
from pipeline.runtime.clients import connection
from pipeline.stage import Topic

if TYPE_CHECKING:
    from pipeline.settings import Settings


Sayable = ChangeEvent | Feedback | MaintenanceWindow | Muting | ModelMove


async def say(settings: Settings, record: Sayable, source: str) -> None:
    """Publish a control record and wait until the broker has it.

    Raises BrokerUnavailableError where nobody answers, BrokerError where the broker refuses it.
    """
    topic, at = settings.topics.name(Topic.CONTROL), to_ms(record.at)
    producer = AIOKafkaProducer(enable_idempotence=True, acks="all", **connection(settings.kafka))
    try:
        with connecting(settings.kafka.bootstrap):
            await producer.start()
        headers = cloudevent_headers(record.event_type(), source, record.id, at)
        await producer.send_and_wait(topic, record.model_dump_json().encode(), headers=headers)
    except KafkaConnectionError as error:
        raise BrokerUnavailableError.at(settings.kafka.bootstrap, settings.kafka.security_protocol) from error
    except KafkaError as error:
        raise BrokerError(f"{settings.kafka.bootstrap}: {topic} does not take it: {told(error)}") from error
    finally:
        await producer.stop()
