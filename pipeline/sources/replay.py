"""Playing recordings back onto `duri.metrics`, at real time, a multiple of it, or as fast as the broker takes them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline.errors import FileError
from pipeline.sources.columnar import encode_rows
from pipeline.sources.csv_recording import read_csv
from pipeline.sources.lanes import lane_of
from pipeline.sources.parquet_recording import read_parquet
from pipeline.sources.recording import Naming, Recording, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

MAX_ROWS = 16_384
"""Rows taken at a time; within them each lane gets one message."""
_SHORTEST_WAIT_S = 0.05

_READERS: dict[str, Callable[[Path, Naming], Recording]] = {
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".pq": read_parquet,
}


class Sink(Protocol):
    """Where messages go; `Publisher` is one."""

    async def publish(self, lane: int, message: bytes) -> None:
        """Take one message; those of one lane stay in order."""
        ...

    async def flush(self) -> None:
        """Wait until all messages have arrived."""
        ...


def read(paths: Sequence[Path], naming: Naming) -> Recording:
    """All files as one recording in order of time. Raises FileError that names file, line and remedy."""
    recordings = []
    for path in paths:
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            known = ", ".join(_READERS)
            raise FileError(f"{path}: unknown kind of file {path.suffix!r}; give one of {known}")
        recordings.append(reader(path, naming))
    return merge(recordings)


async def play(
    recording: Recording,
    sink: Sink,
    *,
    lanes: int = 1,
    speed: float | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> float:
    """Publish the recording over so many lanes (see `lanes.py`).

    `speed` is event seconds per second, None as fast as the sink takes it. `report` is told the number of samples
    published after each step. Returns the seconds it took.
    """
    began = time.monotonic()
    lane_of_series = np.array([lane_of(one.service, lanes) for one in recording.series], dtype=np.int64)
    at = 0
    while at < len(recording):
        end = await _next_end(recording, at, began, speed)
        for lane, message in messages(recording, lane_of_series, at, end):
            await sink.publish(lane, message)
        at = end
        report(at)
    await sink.flush()
    return time.monotonic() - began


def messages(
    recording: Recording,
    lane_of_series: npt.NDArray[np.int64],
    begin: int,
    end: int,
) -> Iterator[tuple[int, bytes]]:
    """(lane, message) for the rows from `begin` to `end`, one for each lane that has any, its rows in order."""
    index = recording.index[begin:end]
    lane_of_row = lane_of_series[index]
    for lane in np.unique(lane_of_row):
        rows = np.flatnonzero(lane_of_row == lane)
        used, local = np.unique(index[rows], return_inverse=True)
        series = [recording.series[one] for one in used]
        yield int(lane), encode_rows(series, local, recording.ts[begin:end][rows], recording.value[begin:end][rows])


async def _next_end(recording: Recording, at: int, began: float, speed: float | None) -> int:
    """Wait until row `at` is due; the end of the rows that are due then."""
    limit = min(at + MAX_ROWS, len(recording))
    if speed is None:
        await asyncio.sleep(0)  # gives the producer its turn on the loop
        return limit
    first = int(recording.ts[0])
    due = began + (int(recording.ts[at]) - first) / 1000 / speed
    wait = due - time.monotonic()
    if wait > 0:
        # A little longer than needed, so that fast replays send a few rows together instead of one by one.
        await asyncio.sleep(max(wait, _SHORTEST_WAIT_S))
    reached = first + (time.monotonic() - began) * 1000 * speed
    end = int(np.searchsorted(recording.ts, reached, side="right"))
    return min(max(end, at + 1), limit)
