"""What a worker is told to run, and how patient it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from pipeline.stage import Stage, Topic

StageFactory = Callable[[TopicPartition], Stage]
"""Makes the fresh stage of one input partition; called in a thread, so it may take its time."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One kind of stage: what it reads, how to make one, where its outputs go.

    `inputs` and the values of `outputs` are topic names. A stage that keeps state must say so from the start: its
    snapshot is never empty, not even before the first record. An empty one means: no state, no snapshots, no replay.
    """

    name: str
    inputs: tuple[str, ...]
    factory: StageFactory
    outputs: Mapping[Topic, str]
    rehearse: Callable[[], None] | None = None
    """Calls each kernel that the stage calls; none where it calls none."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the worker waits for what, seconds. Not settings: nobody should need to turn these, except tests."""

    broker_wait_s: float = 30.0
    """For the first answer of a broker, before the worker gives up."""
    session_timeout_s: float = 10.0
    """After this long without a heartbeat the group gives a dead worker's partitions to others."""
    heartbeat_s: float = 3.0
    rebalance_timeout_s: float = 30.0
    """How long the group waits for its members to let go of their partitions. Below the request timeout (40 s)."""
    commit_timeout_s: float = 120.0
    """One transaction, snapshot included."""
    close_timeout_s: float = 5.0
    """Aborting a transaction and closing a producer."""
    stall_s: float = 60.0
    """A consumer that has records to read and does not move for this long is started anew."""
    probe_s: float = 2.0
    """Between two looks at the broker and the partitions."""
    backoff_min_s: float = 0.1
    backoff_max_s: float = 5.0
    max_failures: int = 8
    """A partition that fails this often in a row, without one commit between, ends the worker."""
