"""What a stage is: a pure function of one ordered log, whoever feeds it (Kafka, a backtest, a test).

A stage sees the records of one input partition in order and answers with outputs. It reads no clock, draws no
random number and knows nothing of where a poll was cut; so replaying the log gives the same bytes again, and
recovery is: restore a snapshot, replay from its offset with the outputs thrown away.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Headers = Sequence[tuple[str, bytes]]
SnapshotState = Mapping[str, "npt.NDArray[np.generic] | bytes"]


class Topic(enum.StrEnum):
    """The topics of the flow by role; settings give each its name."""

    METRICS = "metrics"
    SAMPLES = "samples"
    FRAMES = "frames"
    ANOMALIES = "anomalies"
    INCIDENTS = "incidents"
    RECOMMENDATIONS = "recommendations"
    OUTCOMES = "outcomes"
    CONTROL = "control"
    DEADLETTER = "deadletter"
    STATE = "state"
    POSITIONS = "positions"


class InputRecord(Protocol):
    """One record of the input log; aiokafka's ConsumerRecord fits."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Kafka's timestamp of the record, ms since the epoch."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(frozen=True, slots=True)
class LogRecord:
    """An input record that did not come from a Kafka client: a backtest's, a test's."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A record that a stage wants written.

    `timestamp` is event time, ms. `partition` None leaves the choice to the hash of the key.
    """

    topic: Topic
    value: bytes
    timestamp: int
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None


class Stage(Protocol):
    """One input partition's worker. Outputs depend on the log alone."""

    name: str

    def step(self, records: Sequence[InputRecord]) -> list[Output]:
        """Take the next records, in log order; give what they cause. Never raises for bad data."""
        ...

    def snapshot(self) -> SnapshotState:
        """Copy of the whole state as named arrays and byte strings; never aliases live arrays."""
        ...

    def restore(self, state: SnapshotState) -> None:
        """Become the stage that gave this snapshot. Raises StateError where it does not fit."""
        ...

    def tick(self, elapsed_ms: int) -> Sequence[Output]:
        """Records to write when no input came for `elapsed_ms` (wall time since the newest one, or since assignment).

        Idle partitions would otherwise stop event time. A stage with state appends to its own input, a stateless one
        to the next stage's: as records in a log, ticks are replayed like data.
        """
        ...

    def statistics(self) -> Mapping[str, float]:
        """Counts (`*_total`) and levels since the start, by metric name without the `duri_` prefix.

        Labels are written as in Prometheus: `anomalies_total{severity="critical"}`.
        """
        ...


def header(record: InputRecord, name: str) -> bytes | None:
    """Value of the first header of that name."""
    for key, value in record.headers:
        if key == name:
            return value
    return None
