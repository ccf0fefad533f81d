"""What a backtest writes: a file of JSON lines for each public topic, beside, and in place when it is whole."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from pipeline.errors import FileError
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

WRITTEN: Final = (Topic.ANOMALIES, Topic.INCIDENTS, Topic.RECOMMENDATIONS, Topic.OUTCOMES)
"""The topics whose records a backtest writes. Dead letters hold other people's bytes, which are no lines."""


class Written(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One record that a stage wrote: its topic's role, event time (ms), type (empty: not asked for) and bytes."""

    topic: str
    at: int
    event_type: bytes
    value: bytes


class Findings:
    """Writes into `out`, which is as it was until `finish`; a context manager. Raises FileError.

    `frames`: write the frames of detect too, which `duri catalogue try` reads.
    """

    def __init__(self, out: Path, *, frames: bool = False) -> None:
        self._topics = (*WRITTEN, Topic.FRAMES) if frames else WRITTEN
        self._out = out
        self._beside = out.with_name(out.name + ".part")
        self._tally: Counter[str] = Counter()
        self._stack = ExitStack()
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        try:
            shutil.rmtree(self._beside, ignore_errors=True)
            self._beside.mkdir(parents=True)
            for topic in self._topics:
                path = self._beside / f"{topic}.jsonl"
                self._files[topic.value] = self._stack.enter_context(path.open("wb"))
        except OSError as error:
            raise self._cannot(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is still buffered belongs to files that are thrown away: a full disk must not keep them.
        with suppress(OSError):
            self._stack.close()
        shutil.rmtree(self._beside, ignore_errors=True)

    def write(self, records: Iterable[Written]) -> None:
        """Append these records to their files, and count them."""
        for record in records:
            self._tally[record.topic] += 1
            file = self._files.get(record.topic)
            if file is None:
                continue
            try:
                file.write(record.value + b"\n")
            except OSError as error:
                raise self._cannot(error) from error
            if record.topic != Topic.FRAMES:
                self._count(record.topic, json.loads(record.value))

    def _count(self, topic: str, record: dict[str, Any]) -> None:
        if record.get("state") == "opened":
            self._tally[f"{topic} opened"] += 1
        elif topic == Topic.RECOMMENDATIONS and record["created"] == record["updated"]:
            self._tally["recommendations proposed"] += 1

    def counts(self) -> dict[str, Any]:
        """How many anomalies, incidents and recommendations there are, and records by topic."""
        tally = self._tally
        return {
            "dead_letters": tally[Topic.DEADLETTER],
            "anomalies": tally["anomalies opened"],
            "incidents": tally["incidents opened"],
            "recommendations": tally["recommendations proposed"],
            "records": {topic.value: tally[topic] for topic in WRITTEN},
        }

    def finish(self, summary: str) -> None:
        """Write the summary, and move all files into place."""
        try:
            self._stack.close()
            (self._beside / "summary.json").write_text(summary, encoding="utf-8")
            self._out.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._beside.iterdir()):
                path.replace(self._out / path.name)
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> FileError:
        return FileError(f"{self._out}: cannot be written ({error.strerror}); free or grant what is missing")
