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
_QUIET_S = 5.0
_LIMIT_S = 120.0


class Conformance:
    """`duri run ingest` over topics of one's own; further input topics are told apart by their names."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.installed = Installation(bootstrap, prefix)

    @contextmanager
    def ingesting(self, *inputs: str) -> Iterator[Installation]:
        """Ingest `duri.metrics` and these further topics, each with whatever format it shows."""
        asyncio.run(self._create([self.prefix + name for name in inputs]))
        extra = json.dumps({self.prefix + name: "auto" for name in inputs})
        self.installed = Installation(self.bootstrap, self.prefix, DURI_TOPICS__EXTRA_INPUTS=extra).with_topics()
        with self.installed.running("ingest"):
            yield self.installed

    async def _create(self, names: Sequence[str]) -> None:
        async with ClusterAdmin(KafkaSettings(bootstrap=self.bootstrap)) as admin:
            if names:
                await admin.create([NewTopic(name, 1, 1) for name in names])

    def arrived(self) -> dict[str, list[Sample]]:
        """The samples of each input topic (without the prefix), once no more come; no dead letter is among them."""
        before, ends = -1, time.monotonic() + _LIMIT_S
        while (records := asyncio.run(self._read("samples", 4))) and len(records) != before:
            assert time.monotonic() < ends, "samples do not stop coming"
            before = len(records)
            time.sleep(_QUIET_S)
        dead = asyncio.run(self._read("deadletter", 1))
        assert [dict(record.headers).get("duri.error.message") for record in dead] == []
        found: dict[str, list[Sample]] = {}
        for record in records:
            headers = dict(record.headers)
            if headers.get("content-type") == ARROW_CONTENT_TYPE.encode():
                source = headers[SOURCE_HEADER].decode().rpartition("/")[0].removeprefix(self.prefix)
                found.setdefault(source, []).extend(samples_of(record.value))
        return found

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
