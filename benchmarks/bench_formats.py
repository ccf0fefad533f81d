"""Every format to columns: samples a CPU second of known series, and how many times the obvious Python way that is.

Both read the same messages in the same run, in turns: thousands of samples a CPU second, medians. The obvious way is
in `benchmarks.messages`: generated objects walked in a loop, `json.loads`, split lines; its index of series is a dict.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.harness import median, report
from benchmarks.messages import CASES, POINTS, Case, Rows
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.columns import Columns
from pipeline.ingest.formats.registry import AUTO
from pipeline.ingest.reader import MessageReader
from pipeline.runtime.memory import collect_seldom
from pipeline.settings import IngestSettings
from pipeline.stage import LogRecord

SAMPLES = 200_000
OBVIOUS_SAMPLES = 40_000
POLL = 20_000
ROUNDS = 5


class Decoding:
    """The ingest stage's reader, with its catalog."""

    def __init__(self) -> None:
        settings = IngestSettings()
        self._reader = MessageReader(settings, SeriesCatalog(settings, 4), AUTO)

    def read(self, records: list[LogRecord]) -> int:
        """Samples of these messages as columns; how many there were."""
        samples = 0
        for begin in range(0, len(records), POLL):
            poll = records[begin : begin + POLL]
            arrived = np.fromiter((record.timestamp for record in poll), dtype=np.int64, count=len(poll))
            columns = Columns()
            letters = list(self._reader.read(poll, arrived, columns))
            assert not letters, letters[0].output.headers
            samples += len(columns.arrays().ts)
        return samples

    def rate(self, records: list[LogRecord], samples: int) -> float:
        """Samples a CPU second."""
        begun = time.process_time()
        assert self.read(records) == samples
        return samples / (time.process_time() - begun)


def known(case: Case, messages: list[bytes], now: int) -> tuple[Decoding, list[LogRecord]]:
    """A reader that has met the series, and the messages as records of `now` (ms)."""
    records = [LogRecord("bench", 0, at, now, None, payload) for at, payload in enumerate(messages)]
    decoding = Decoding()
    decoding.read(records[: 2 * max(1, POINTS // case.samples)])  # compiles kernels, too
    return decoding, records


def obvious(case: Case, messages: list[bytes]) -> float:
    """Samples a CPU second."""
    rows = Rows()
    begun = time.process_time()
    for payload in messages:
        case.obvious(payload, rows)
    np.asarray(rows.series), np.asarray(rows.ts), np.asarray(rows.value)
    return len(rows.ts) / (time.process_time() - begun)


def measure(name: str, case: Case) -> dict[str, float]:
    """Both rates, in turns."""
    now = int(time.time() * 1000)
    messages = case.make(now, SAMPLES // case.samples)
    decoding, records = known(case, messages, now)
    few = messages[: OBVIOUS_SAMPLES // case.samples]
    samples = len(messages) * case.samples
    rounds = [(decoding.rate(records, samples), obvious(case, few)) for _ in range(ROUNDS)]
    fast = median([one for one, _ in rounds])
    return {
        f"{name}_k_per_cpu_s": round(fast / 1000),
        f"{name}_times_obvious": round(median([one / other for one, other in rounds]), 1),
    }


def main() -> None:
    """All formats, with the collector as `duri run` sets it."""
    collect_seldom()
    figures: dict[str, float] = {}
    for name, case in CASES.items():
        figures.update(measure(name, case))
    report("formats", figures)


if __name__ == "__main__":
    main()
