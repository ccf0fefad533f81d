"""Snapshots of detect's state: what partial ones write and cost, on a mostly idle partition and on a fully live one.

A detect stage with `SERIES` watched gauges, settled. Between two snapshots lies a scrape of one series in twenty
(`idle`: those of one service in twenty), of all (`live`), or nothing; `whole` is a first snapshot. CPU seconds of
this process, compressed bytes. No Kafka: what is measured is what a worker does in its thread, and what it hands
to the producer.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import report
from pipeline.batch import ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.runtime.snapshots import BLOCK_BYTES, EncodedSnapshot, Index, encode_snapshot
from pipeline.series import Kind, Series
from pipeline.settings import load_settings
from pipeline.stage import LogRecord

if TYPE_CHECKING:
    import numpy.typing as npt

SERIES = 40_000
SERVICES = 100
SCRAPES = 60
HEADERS = [("content-type", ARROW_CONTENT_TYPE.encode()), (SOURCE_HEADER, b"duri.metrics/0")]


class Load:
    """A stage and what feeds it."""

    def __init__(self) -> None:
        settings = load_settings()
        configuration = load_detection(settings.config_dir, settings.detect, partitions=1)
        self.stage = DetectStage(configuration, input_topic="duri.samples", partition=0, sources=["duri.metrics/0"])
        every = [
            Series(
                name="queue_depth",
                labels={"service": f"service-{i * SERVICES // SERIES}", "i": str(i)},
                kind=Kind.GAUGE,
                unit="",
            )
            for i in range(SERIES)
        ]
        self._identities = np.array([one.identity() for one in every], dtype=np.uint64)
        self._labels = [one.canonical() for one in every]
        self._rng = np.random.default_rng(0)
        self._minute = 0

    def scrape(self, which: npt.NDArray[np.int64]) -> None:
        """One sample of each of these."""
        ts = np.full(len(which), 1_767_225_600_000 + self._minute * 60_000, dtype=np.int64)
        labels = [self._labels[at] for at in which.tolist()]
        batch = make_batch(self._identities[which], ts, self._rng.normal(50, 2, len(which)), labels)
        record = LogRecord("duri.samples", 0, self._minute, int(ts[0]), None, encode_batch(batch), HEADERS)
        self.stage.step([record])
        self._minute += 1


def measured(load: Load, before: Index | None) -> tuple[EncodedSnapshot, float]:
    """A snapshot, and the CPU seconds that copying and encoding it took."""
    began = time.process_time()
    snapshot = encode_snapshot("detect", 0, load.stage.snapshot(), before)
    return snapshot, time.process_time() - began


def renewed(load: Load, before: Index) -> Index:
    """The index of one more snapshot."""
    snapshot, _ = measured(load, before)
    return snapshot.index(range(len(snapshot.fresh)))


def main() -> None:
    """Measure a whole snapshot, one after little, one after everything."""
    load, everything = Load(), np.arange(SERIES)
    for _ in range(SCRAPES):
        load.scrape(everything)
    measured(load, None)  # memory is touched, and code compiled, for the first time
    whole, whole_s = measured(load, None)
    figures: dict[str, float] = {"whole_mb": whole.size / 1e6, "whole_cpu_s": whole_s, "blocks": len(whole.fresh)}
    index = whole.index(range(len(whole.fresh)))
    idle, none = np.arange(SERIES // 20), np.arange(0)
    for name, which in (("idle", idle), ("live", everything), ("nothing", none)):
        if len(which):
            # Samples wait for their frame: only the second of two scrapes finds the first one learned.
            load.scrape(which)
            index = renewed(load, index)
            load.scrape(which)
        partial, partial_s = measured(load, index)
        figures |= {f"{name}_mb": partial.size / 1e6, f"{name}_cpu_s": partial_s, f"{name}_blocks": len(partial.fresh)}
        index = partial.index(range(len(partial.fresh)))
    rounded = {name: round(value, 3) for name, value in figures.items()}
    report("snapshots", rounded | {"series": SERIES, "block_bytes": BLOCK_BYTES})


if __name__ == "__main__":
    main()
