"""Record what Collector and Telegraf put on Kafka: `python -m conformance.record_kafka`."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from conformance import otlp_story, producers, programs
from conformance.golden import GOLDEN, save
from pipeline.runtime.broker import EmbeddedBroker
from pipeline.settings import KafkaSettings
from tests.committed import committed_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import ConsumerRecord

_STEPS = 6
_TELEGRAF_S = 2
_MEASUREMENTS = 3
"""Messages kept of each measurement: they repeat."""


async def make_topics(bootstrap: str, names: Sequence[str]) -> None:
    """Topics of one partition, so that records keep their order."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1) for name in names])
    finally:
        await admin.close()


def read_all(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    """Everything on the topic now."""
    return asyncio.run(committed_at(KafkaSettings(bootstrap=bootstrap), [TopicPartition(topic, 0)]))


def record_collector(bootstrap: str, folder: Path) -> None:
    """OTLP protobuf and OTLP JSON, of one story."""
    topics = {name: f"collector-{name}" for name in ("proto", "json")}
    asyncio.run(make_topics(bootstrap, list(topics.values())))
    story = otlp_story.Story(time.time_ns())
    sent = []
    with producers.collector(folder, bootstrap, topics, by_resource=False) as url:
        for _ in range(_STEPS):
            sent.append(story.next(time.time_ns()))
            producers.post_json(url, sent[-1])
            time.sleep(1.2)
        time.sleep(3)
    for encoding, topic in topics.items():
        records = read_all(bootstrap, topic)
        save(
            f"collector-otlp-{encoding}",
            [record.value for record in records],
            _about(
                records, program="OpenTelemetry Collector, kafkaexporter", version=programs.COLLECTOR_VERSION,
                source="Go modules, cmd/builder",
                settings=f"otlp receiver; batch {{timeout: 1s}}; kafka: metrics: {{encoding: otlp_{encoding}}}",
            ),
        )  # fmt: skip
        lines = "".join(f"{json.dumps(request)}\n" for request in sent)
        (GOLDEN / f"collector-otlp-{encoding}" / "sent.jsonl").write_text(lines)


def record_telegraf(bootstrap: str, folder: Path) -> None:
    """Telegraf's four serializers, of the same metrics."""
    topics = {name: f"telegraf-{name}" for name in producers.TELEGRAF_OPTIONS}
    asyncio.run(make_topics(bootstrap, list(topics.values())))
    with producers.telegraf(folder, bootstrap, topics, _TELEGRAF_S, routed=False) as (statsd, truth):
        for step in range(1, 5):
            lines = ["orders:3|c", "queue,queue=a\\ b:7|g", "latency:12|ms", "latency:48|ms", "users:alice|s"]
            producers.send_statsd(statsd, [*lines, f"queue_total:{step}.5|g"])
            time.sleep(_TELEGRAF_S)
        time.sleep(2 * _TELEGRAF_S)
    for data_format, topic in topics.items():
        records = read_all(bootstrap, topic)
        kept = _some(records, data_format)
        save(
            f"telegraf-{data_format}",
            [record.value for record in kept],
            _about(
                kept, program="Telegraf, outputs.kafka", version=programs.TELEGRAF_VERSION, source="Go module",
                settings="interval 2s; inputs cpu, mem, net, statsd; outputs.kafka: "
                + producers.telegraf_output("…", "…", data_format, routed=False),
            ) | {"beside": "the same metrics went to all formats; outputs.file wrote them as sent.jsonl"},
        )  # fmt: skip
    for data_format in topics:
        shutil.copy(truth, GOLDEN / f"telegraf-{data_format}" / "sent.jsonl")


def _some(records: Sequence[ConsumerRecord], data_format: str) -> list[ConsumerRecord]:
    """A few of each measurement; those that cannot be told apart by their first bytes are all kept up to a number."""
    if data_format == "prometheusremotewrite":  # one metric a message
        return list(records[:60])
    seen: Counter[bytes] = Counter()
    kept = []
    for record in records:
        measurement = _measurement(record.value, data_format)
        seen[measurement] += 1
        if seen[measurement] <= _MEASUREMENTS:
            kept.append(record)
    return kept


def _measurement(value: bytes, data_format: str) -> bytes:
    if data_format == "json":
        return value.partition(b'"name":"')[2].partition(b'"')[0]
    return value.replace(b"# HELP ", b"").partition(b",")[0].partition(b" ")[0]


def _about(records: Sequence[ConsumerRecord], **about: str) -> dict[str, object]:
    keys = sorted({repr(record.key) for record in records})
    headers = sorted({repr(list(record.headers)) for record in records})
    stamps = [record.timestamp for record in records]
    return {**about, "keys": keys[:3], "headers": headers[:3], "kafka_timestamps": stamps}


def _main() -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedBroker() as broker:
        record_collector(broker.bootstrap, Path(folder))
        record_telegraf(broker.bootstrap, Path(folder))


if __name__ == "__main__":
    _main()
