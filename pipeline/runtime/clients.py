"""Kafka clients as the settings want them: one way to connect for consumers, producers and administration."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.helpers import create_ssl_context

from pipeline.errors import SettingsError
from pipeline.settings import Guarantee

if TYPE_CHECKING:
    from pipeline.runtime.spec import Timing
    from pipeline.settings import KafkaSettings, Settings

PARTITION_FETCH_BYTES = 8 * 1024 * 1024
"""Most that one poll of one partition brings, compressed."""
FETCH_BYTES = 16 * 1024 * 1024
"""Most that one fetch brings over all partitions: what a consumer keeps in memory ahead of its stages."""
FETCH_WAIT_MS = 100
"""A partition whose records were just taken waits for the running fetch of the others: keep that one short."""
NEVER_MS = 2**31 - 1

Isolation = Literal["read_committed", "read_uncommitted"]


def connection(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client takes.

    Raises SettingsError for unreadable secrets or certificates.
    """
    arguments: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap,
        "security_protocol": kafka.security_protocol,
        "retry_backoff_ms": 100,
    }
    if kafka.security_protocol.startswith("SASL"):
        arguments |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.password(),
        }
    if kafka.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = _ssl_context(kafka)
    return arguments


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=kafka.ssl_cafile,
            certfile=kafka.ssl_certfile,
            keyfile=kafka.ssl_keyfile,
            password=kafka.key_password(),
        )
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"kafka.ssl_cafile, ssl_certfile, ssl_keyfile: cannot be used ({error.strerror or error}); "
            "each must be a readable PEM file, and the key must fit the certificate"
        ) from error
    return context


def admin_client(kafka: KafkaSettings) -> AIOKafkaAdminClient:
    """Client for administration, not yet started."""
    return AIOKafkaAdminClient(client_id="duri-admin", **connection(kafka))


def group_consumer(settings: Settings, group: str, timing: Timing) -> AIOKafkaConsumer:
    """Consumer of a stage's group, not yet subscribed.

    No deserializers (one that raises stalls its partition for ever), no own commits (offsets go with the outputs),
    no silent jump when records are gone, and no leaving of the group when a long replay keeps it from polling.
    """
    return AIOKafkaConsumer(
        client_id=group,
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="none",
        max_poll_records=settings.runtime.max_poll_records,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        fetch_max_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=round(timing.session_timeout_s * 1000),
        heartbeat_interval_ms=round(timing.heartbeat_s * 1000),
        rebalance_timeout_ms=round(timing.rebalance_timeout_s * 1000),
        max_poll_interval_ms=NEVER_MS,
        **connection(settings.kafka),
    )


def log_reader(kafka: KafkaSettings, isolation: Isolation = "read_committed") -> AIOKafkaConsumer:
    """Consumer without a group, for reading a known range of offsets."""
    return AIOKafkaConsumer(
        client_id="duri-reader",
        group_id=None,
        enable_auto_commit=False,
        isolation_level=isolation,
        auto_offset_reset="none",
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        **connection(kafka),
    )


def producer(settings: Settings, *, identity: str, batch_bytes: int) -> AIOKafkaProducer:
    """Producer of one input partition; with exactly once, `identity` is its transactional id and fences others."""
    transactional = settings.runtime.guarantee is Guarantee.EXACTLY_ONCE
    return AIOKafkaProducer(
        client_id=identity,
        transactional_id=identity if transactional else None,
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        max_batch_size=batch_bytes,
        **connection(settings.kafka),
    )
