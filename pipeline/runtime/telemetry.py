"""What a worker tells about itself: Prometheus metrics in a registry of its own.

What every stage has in common is counted here; what only a stage can know comes from its `statistics()`, summed over
the partitions this worker holds and labelled with the stage's name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_NAME = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Observed(Protocol):
    """One input partition as metrics see it."""

    @property
    def stage_name(self) -> str:
        """Name of the stage."""
        ...

    @property
    def place(self) -> tuple[str, int]:
        """Input topic and partition."""
        ...

    @property
    def lag(self) -> int | None:
        """Records that are there and not yet read; None while it is not known."""
        ...

    @property
    def statistics(self) -> Mapping[str, float]:
        """Numbers of the stage, as `Stage.statistics` gives them."""
        ...


class Telemetry:
    """The metrics of one worker. `partitions` lives on: it is read at every scrape."""

    def __init__(self, partitions: Iterable[Observed]) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        ProcessCollector(registry=registry)
        registry.register(_PartitionCollector(partitions))
        self._stage_seconds = Histogram(
            "duri_stage_seconds", "Duration of one step of a stage", ["stage"], registry=registry, buckets=_BUCKETS
        )
        self._records = Counter("duri_records", "Input records processed", ["stage"], registry=registry)
        self._outputs = Counter("duri_outputs", "Records written", ["stage"], registry=registry)
        self._commit_seconds = Histogram(
            "duri_transaction_seconds", "Duration of one commit", ["stage"], registry=registry, buckets=_BUCKETS
        )
        self._transactions = Counter("duri_transactions", "Commits that succeeded", ["stage"], registry=registry)
        self._snapshots = Counter("duri_snapshots", "Snapshots committed", ["stage"], registry=registry)
        self._snapshot_bytes = Counter(
            "duri_snapshot_bytes", "Bytes written for snapshots", ["stage"], registry=registry
        )
        self._snapshot_blocks = Counter(
            "duri_snapshot_blocks",
            "Blocks of snapshots, by what became of them (written, unchanged)",
            ["stage", "how"],
            registry=registry,
        )
        self._restores = Counter(
            "duri_restores",
            "Partitions taken over, by how their state came back (kept, snapshot, replay)",
            ["stage", "how"],
            registry=registry,
        )
        self._ticks = Counter("duri_ticks", "Ticks written to idle partitions", ["stage"], registry=registry)
        self._failures = Counter("duri_failures", "Partition restarts after an error", ["stage"], registry=registry)
        self._rebalances = Counter("duri_rebalances", "Assignments received", ["stage"], registry=registry)
        self._ready = Gauge("duri_ready", "1 while every partition held is being processed", registry=registry)

    def stepped(self, stage: str, records: int, seconds: float) -> None:
        """A step took this long for so many records."""
        self._stage_seconds.labels(stage).observe(seconds)
        self._records.labels(stage).inc(records)

    def committed(self, stage: str, outputs: int, seconds: float) -> None:
        """A commit of so many outputs took this long."""
        self._commit_seconds.labels(stage).observe(seconds)
        self._transactions.labels(stage).inc()
        self._outputs.labels(stage).inc(outputs)

    def snapshot(self, stage: str, size: int, *, written: int, kept: int) -> None:
        """A snapshot was committed: so many bytes in so many blocks were written, others had not changed."""
        self._snapshots.labels(stage).inc()
        self._snapshot_bytes.labels(stage).inc(size)
        self._snapshot_blocks.labels(stage, "written").inc(written)
        self._snapshot_blocks.labels(stage, "unchanged").inc(kept)

    def restored(self, stage: str, how: str) -> None:
        """A partition was taken over."""
        self._restores.labels(stage, how).inc()

    def ticked(self, stage: str) -> None:
        """A tick was written."""
        self._ticks.labels(stage).inc()

    def failed(self, stage: str) -> None:
        """A partition starts again after an error."""
        self._failures.labels(stage).inc()

    def rebalanced(self, stage: str) -> None:
        """The group gave out partitions."""
        self._rebalances.labels(stage).inc()

    def ready(self, *, is_ready: bool) -> None:
        """Whether the worker is ready now."""
        self._ready.set(is_ready)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _PartitionCollector(Collector):
    """Lag and the stages' own numbers, read when asked."""

    def __init__(self, partitions: Iterable[Observed]) -> None:
        self._partitions = partitions

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time: names come from the stages."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        partitions = list(self._partitions)
        lag = Metric("duri_lag_records", "Records that are there and not yet read", "gauge")
        held: dict[str, int] = defaultdict(int)
        for partition in partitions:
            held[partition.stage_name] += 1
            topic, number = partition.place
            if partition.lag is not None:
                labels = {"stage": partition.stage_name, "topic": topic, "partition": str(number)}
                lag.add_sample("duri_lag_records", labels, partition.lag)
        yield lag
        count = Metric("duri_partitions", "Input partitions held", "gauge")
        for stage, number in held.items():
            count.add_sample("duri_partitions", {"stage": stage}, number)
        yield count
        yield from _families(partitions)


def _families(partitions: Iterable[Observed]) -> Iterator[Metric]:
    sums: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(lambda: defaultdict(float))
    for partition in partitions:
        for written, value in partition.statistics.items():
            name, labels = parse_name(written)
            sums[name][*labels, ("stage", partition.stage_name)] += value
    for name, samples in sorted(sums.items()):
        counter = name.endswith("_total")
        family = Metric(
            f"duri_{name.removesuffix('_total')}", "Of the stages themselves", "counter" if counter else "gauge"
        )
        for labels, value in samples.items():
            family.add_sample(f"duri_{name}", dict(labels), value)
        yield family


def parse_name(written: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A statistic's name and labels, as `Stage.statistics` writes them. Raises ValueError where it is no such name."""
    match = _NAME.match(written)
    if match is None:
        raise ValueError(f"{written!r} is no metric name, nor one with labels in braces")
    labels = tuple((key, _unescape(value)) for key, value in _LABEL.findall(match["labels"] or ""))
    return match["name"], labels


def _unescape(value: str) -> str:
    return re.sub(r"\\[\\\"n]", lambda match: _ESCAPES[match[0]], value)
