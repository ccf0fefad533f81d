"""Samples of a poll into messages for `duri.samples`: by partition, in order, below a size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
import pyarrow as pa

from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SOURCE_HEADER, SampleBatch, encode_batch
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from pipeline.ingest.catalog import SeriesCatalog
    from pipeline.ingest.points import Points

_ROW_BYTES = 24
MESSAGE_BYTES = 750_000
"""Upper bound of a message before compression, below Kafka's default limit of 1 MB."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where samples were read, as `topic/partition`, and the newest Kafka timestamp of their records, ms."""

    source: str
    arrival: int

    def headers(self) -> list[tuple[str, bytes]]:
        """Headers of a message of samples."""
        return [
            ("content-type", ARROW_CONTENT_TYPE.encode()),
            (SOURCE_HEADER, self.source.encode()),
            (ARRIVAL_HEADER, str(self.arrival).encode()),
        ]


def pack(columns: Points, origin: Origin, catalog: SeriesCatalog, partitions: int) -> Iterator[Output]:
    """The samples (arrays, `series` into the catalog) as outputs for `duri.samples`.

    Rows of one partition keep their order. Each message carries the labels of each of its series once.
    """
    index, ts, value = (np.asarray(column) for column in columns[:3])
    if not len(index):
        return
    headers = origin.headers()
    message, first = _assign(index, catalog.series.partition, catalog.series.size, partitions, MESSAGE_BYTES)
    order = np.argsort(message, kind="stable")
    cuts = np.flatnonzero(np.diff(message[order])) + 1
    for rows in np.split(order, cuts):
        series = index[rows]
        batch = SampleBatch(
            series=catalog.series.identity[series],
            ts=ts[rows],
            value=value[rows],
            labels=_labels(series, first[rows], catalog),
        )
        yield Output(
            topic=Topic.SAMPLES,
            value=encode_batch(batch),
            timestamp=int(batch.ts.max()),
            headers=headers,
            partition=int(catalog.series.partition[series[0]]),
        )


def _labels(series: npt.NDArray[np.int64], first: npt.NDArray[np.bool_], catalog: SeriesCatalog) -> pa.BinaryArray:
    firsts = np.flatnonzero(first)
    canonical = catalog.series.canonical(series[firsts])
    place = np.zeros(len(series), dtype=np.int64)
    place[firsts] = np.arange(len(firsts))
    return canonical.take(pa.array(place, mask=~first))


@numba.njit(cache=True, nogil=True)
def _assign(
    index: npt.NDArray[np.int64],
    partition: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    partitions: int,
    limit: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """For each row the number of its message, and whether it is the first of its series there."""
    n = len(index)
    message = np.empty(n, dtype=np.int32)
    first = np.empty(n, dtype=np.bool_)
    current = np.full(partitions, -1, dtype=np.int32)
    filled = np.zeros(partitions, dtype=np.int64)
    labelled_in = np.full(len(partition), -1, dtype=np.int32)
    messages = 0
    for row in range(n):
        series = index[row]
        p = partition[series]
        fresh = current[p] < 0 or labelled_in[series] != current[p]
        cost = _ROW_BYTES + (size[series] if fresh else 0)
        if current[p] < 0 or filled[p] + cost > limit:
            current[p] = messages
            messages += 1
            filled[p] = 0
            fresh = True
            cost = _ROW_BYTES + size[series]
        message[row] = current[p]
        first[row] = fresh
        labelled_in[series] = current[p]
        filled[p] += cost
    return message, first
