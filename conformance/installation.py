"""The pipeline as an administrator starts it, and what comes out of ingest."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiokafka.admin import NewTopic

from conformance.checks import samples_of
from pipeline.batch import ARROW_CONTENT_TYPE, SOURCE_HEADER
from pipeline.errors import BrokerUnavailableError
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.drained import drained
from pipeline.runtime.stages import build_specs
from pipeline.settings import KafkaSettings, load_settings
from pipeline.stage import Topic
from tests.committed import committed
from tests.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.truth import Sample
    from pipeline.settings import Settings

SECONDS = float(os.environ.get("CONFORMANCE_S", "60"))
"""How long each producer publishes."""
_LIMIT_S = 180.0
_LOOK_S = 1.0


class Conformance:
    """`duri run ingest` over topics of one's own; further input topics are told apart by their names."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self._extra: dict[str, str] = {}

    @contextmanager
    def ingesting(self, *inputs: str) -> Iterator[Installation]:
        """Ingest `duri.metrics` and these further topics, each with whatever format it shows."""
        self._extra = {self.prefix + name: "auto" for name in inputs}
        asyncio.run(self._create(list(self._extra)))
        extra = json.dumps(self._extra)
        installed = Installation(self.bootstrap, self.prefix, DURI_TOPICS__EXTRA_INPUTS=extra).with_topics()
        with installed.running("ingest"):
            yield installed

    async def _create(self, names: Sequence[str]) -> None:
        async with ClusterAdmin(KafkaSettings(bootstrap=self.bootstrap)) as admin:
            if names:
                await admin.create([NewTopic(name, 1, 1) for name in names])

    def arrived(self) -> dict[str, list[Sample]]:
        """The samples of each input topic (without the prefix), once all input is read; none was refused."""
        return asyncio.run(self._arrived())

    async def _arrived(self) -> dict[str, list[Sample]]:
        settings = self._settings()
        await self._until_read(settings)
        dead = await committed(settings, Topic.DEADLETTER)
        assert [dict(record.headers).get("duri.error.message") for record in dead] == []
        found: dict[str, list[Sample]] = {}
        for record in await committed(settings, Topic.SAMPLES):
            headers = dict(record.headers)
            if headers.get("content-type") == ARROW_CONTENT_TYPE.encode():
                source = headers[SOURCE_HEADER].decode().rpartition("/")[0].removeprefix(self.prefix)
                found.setdefault(source, []).extend(samples_of(record.value))
        return found

    async def _until_read(self, settings: Settings) -> None:
        specs = build_specs(settings, ["ingest"])
        async with asyncio.timeout(_LIMIT_S):
            while True:
                try:
                    return await drained(settings, specs)
                except BrokerUnavailableError:  # a new broker has no coordinators before the first group is there
                    await asyncio.sleep(_LOOK_S)

    def _settings(self) -> Settings:
        return load_settings(
            overrides={
                "kafka.bootstrap": self.bootstrap,
                "topics.prefix": self.prefix,
                "topics.extra_inputs": self._extra,
                "runtime.group": self.prefix,
            }
        )
