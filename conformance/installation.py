"""The pipeline as an administrator starts it, and what comes out of ingest."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from conformance.checks import samples_of
from pipeline.batch import ARROW_CONTENT_TYPE, SOURCE_HEADER
from pipeline.runtime.admin import ClusterAdmin
from pipeline.settings import KafkaSettings
from tests.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiokafka import ConsumerRecord

    from conformance.truth import Sample

SECONDS = float(os.environ.get("CONFORMANCE_S", "60"))
"""How long each producer publishes."""
_LIMIT_S = 180.0
_MARKER = 1
"""The end of a transaction takes an offset that no record has."""


class Conformance:
    """`duri run ingest` over topics of one's own; further input topics are told apart by their names."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self._inputs: tuple[str, ...] = ()

    @contextmanager
    def ingesting(self, *inputs: str) -> Iterator[Installation]:
        """Ingest `duri.metrics` and these further topics, each with whatever format it shows."""
        self._inputs = inputs
        asyncio.run(self._create([self.prefix + name for name in inputs]))
        extra = json.dumps({self.prefix + name: "auto" for name in inputs})
        installed = Installation(self.bootstrap, self.prefix, DURI_TOPICS__EXTRA_INPUTS=extra).with_topics()
        with installed.running("ingest"):
            yield installed

    async def _create(self, names: Sequence[str]) -> None:
        async with ClusterAdmin(KafkaSettings(bootstrap=self.bootstrap)) as admin:
            if names:
                await admin.create([NewTopic(name, 1, 1) for name in names])

    def arrived(self) -> dict[str, list[Sample]]:
        """The samples of each input topic (without the prefix), once all input is read; none was refused."""
        ends = time.monotonic() + _LIMIT_S
        while behind := asyncio.run(self._behind()):
            assert time.monotonic() < ends, f"ingest has not read {behind}"
            time.sleep(1)
        records = asyncio.run(self._read("samples", 4))
        dead = asyncio.run(self._read("deadletter", 1))
        assert [dict(record.headers).get("duri.error.message") for record in dead] == []
        found: dict[str, list[Sample]] = {}
        for record in records:
            headers = dict(record.headers)
            if headers.get("content-type") == ARROW_CONTENT_TYPE.encode():
                source = headers[SOURCE_HEADER].decode().rpartition("/")[0].removeprefix(self.prefix)
                found.setdefault(source, []).extend(samples_of(record.value))
        return found

    async def _behind(self) -> list[TopicPartition]:
        """Inputs that ingest has not read to their end."""
        places = [TopicPartition(self.prefix + "metrics", number) for number in range(4)]
        places += [TopicPartition(self.prefix + name, 0) for name in self._inputs]
        behind = []
        async with (
            AIOKafkaConsumer(bootstrap_servers=self.bootstrap, isolation_level="read_committed") as consumer,
            ClusterAdmin(KafkaSettings(bootstrap=self.bootstrap)) as admin,
        ):
            for place, end in (await consumer.end_offsets(places)).items():
                committed = await admin.committed(f"{self.prefix}.ingest", place)
                if end and (committed is None or committed.offset < end - _MARKER):
                    behind.append(place)
        return behind

    async def _read(self, topic: str, partitions: int) -> list[ConsumerRecord]:
        places = [TopicPartition(self.prefix + topic, number) for number in range(partitions)]
        async with AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        ) as consumer:
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            found: list[ConsumerRecord] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
            return found
