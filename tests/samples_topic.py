"""What is on `duri.samples`, as a reader of committed records sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer

from pipeline.batch import ARROW_CONTENT_TYPE, decode_batch
from pipeline.series import parse_canonical
from tests.installation import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.installation import Installation


async def read_samples(there: Installation, until: Callable[[list[dict[str, str]]], bool]) -> list[dict[str, str]]:
    """The labels of each sample's series, from the beginning until there is enough."""
    found: list[dict[str, str]] = []
    ends = time.monotonic() + DEADLINE_S
    async with AIOKafkaConsumer(
        there.prefix + "samples", bootstrap_servers=there.bootstrap, auto_offset_reset="earliest",
        isolation_level="read_committed",
    ) as consumer:  # fmt: skip
        while not until(found):
            assert time.monotonic() < ends, f"{len(found)} samples within {DEADLINE_S:.0f} s"
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    if dict(record.headers).get("content-type") == ARROW_CONTENT_TYPE.encode():
                        found += _labels(record.value)
    return found


def _labels(message: bytes) -> list[dict[str, str]]:
    batch = decode_batch(message)
    known = {
        identity: parse_canonical(canonical).labels
        for identity, canonical in zip(batch.series, batch.labels.to_pylist(), strict=True)
        if canonical is not None
    }
    return [known[identity] for identity in batch.series]
