"""What ingest makes of messages, without Kafka."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pipeline.batch import decode_batch
from pipeline.errors import DecodeError
from pipeline.ingest.deadletters import ERROR_PREFIX
from pipeline.ingest.formats.registry import open_message
from pipeline.ingest.limits import Limits
from pipeline.ingest.stage import IngestStage
from pipeline.stage import LogRecord, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.settings import IngestSettings

_UNKNOWN = "none"


class TryOut:
    """Takes messages one by one; `formats`, `samples`, `series` and `letters` say what came of them."""

    def __init__(self, settings: IngestSettings, topic: str, topic_format: str, arrived_ms: int) -> None:
        self._stage = IngestStage(settings, source=f"{topic}/0", samples_partitions=1, topic_format=topic_format)
        self._topic, self._format, self._arrived = topic, topic_format, arrived_ms
        self._limits = Limits(settings)
        self.messages = 0
        self.samples = 0
        self.series: set[int] = set()
        self.formats: Counter[str] = Counter()
        """Messages by the format that they are read as."""
        self.letters: list[dict[str, str]] = []
        """What dead letters say: reason, message, offset (the message's number from 0), perhaps position."""

    def take(self, message: bytes, key: str | None, headers: Sequence[tuple[str, bytes]]) -> None:
        """One message as a producer would send it, read alone."""
        key_bytes = None if key is None else key.encode()
        record = LogRecord(self._topic, 0, self.messages, self._arrived, key_bytes, message, headers)
        self.messages += 1
        try:
            self.formats[open_message(message, headers, self._format, self._limits).format.name] += 1
        except DecodeError:
            self.formats[_UNKNOWN] += 1
        for output in self._stage.step([record]):
            if output.topic is Topic.SAMPLES:
                batch = decode_batch(output.value)
                self.samples += len(batch)
                self.series.update(batch.series.tolist())
            else:
                self.letters.append(
                    {
                        name.removeprefix(ERROR_PREFIX): value.decode("utf-8", "replace")
                        for name, value in output.headers
                        if name.startswith(ERROR_PREFIX)
                    }
                )
