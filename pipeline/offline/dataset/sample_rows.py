"""Samples on their way into a dataset: messages of `duri.samples` in, rows of the table `samples` out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.batch import ARROW_CONTENT_TYPE, decode_batch
from pipeline.offline.dataset.columns import null_where_nan, words
from pipeline.offline.dataset.tables import SCHEMAS, TIME, Table, bucket_of
from pipeline.offline.dataset.writer import Rows
from pipeline.series import SERVICE_LABEL, Series, parse_canonical
from pipeline.stage import header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.batch import SampleBatch
    from pipeline.offline.dataset.columns import Window
    from pipeline.stage import InputRecord

_ARROW: Final = ARROW_CONTENT_TYPE.encode()
_MOST_ROWS: Final = 1_000_000
_MOST_LABEL_BYTES: Final = 32 << 20
_encoder = msgspec.json.Encoder(order="sorted")

Part = tuple["npt.NDArray[np.int32]", "npt.NDArray[np.int64]", "npt.NDArray[np.float64]"]


class SampleRows:
    """Collects samples; a full one must be taken before more is added."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._clear()

    def _clear(self) -> None:
        self._parts: list[Part] = []
        self._known: dict[int, int] = {}
        self._series: list[Series] = []
        self._label_bytes = 0
        self.rows = 0

    @property
    def full(self) -> bool:
        """Whether the rows should be taken now: memory has a bound."""
        return self.rows >= _MOST_ROWS or self._label_bytes >= _MOST_LABEL_BYTES

    def add(self, record: InputRecord, window: Window) -> int | None:
        """Take a record's samples within the window; the newest time in it (ms), None where it holds no samples.

        Raises ValueError where it cannot be read.
        """
        if header(record, "content-type") != _ARROW:
            return None
        batch = decode_batch(record.value or b"")
        if not len(batch):
            return None
        index = self._intern(batch)
        inside = window.holds(batch.ts)
        self.add_columns(index[inside], batch.ts[inside], batch.value[inside])
        return int(batch.ts.max())

    def add_columns(
        self, index: npt.NDArray[np.int32], ts: npt.NDArray[np.int64], value: npt.NDArray[np.float64]
    ) -> None:
        """Take n samples: index into what `intern` gave, ts int64[n] ms, value float64[n]."""
        self._parts.append((index, ts, value))
        self.rows += len(ts)

    def intern(self, identity: int, series: Series) -> int:
        """Index of a series until the rows are taken."""
        index = self._known.get(identity)
        if index is None:
            index = self._known[identity] = len(self._series)
            self._series.append(series)
            self._label_bytes += 200 + sum(len(name) + len(text) for name, text in series.labels.items())
        return index

    def _intern(self, batch: SampleBatch) -> npt.NDArray[np.int32]:
        identities, first, inverse = np.unique(batch.series, return_index=True, return_inverse=True)
        known = self._known
        index = np.fromiter((known.get(one, -1) for one in identities.tolist()), dtype=np.int32, count=len(identities))
        for place in np.flatnonzero(index < 0).tolist():
            identity, canonical = int(identities[place]), batch.labels[int(first[place])].as_py()
            if canonical is None:
                raise ValueError(f"series {identity:#x} has no labels at its first row")
            index[place] = self.intern(identity, parse_canonical(canonical))
        found: npt.NDArray[np.int32] = index[inverse]
        return found

    def take(self) -> Iterator[Rows]:
        """The rows, which are forgotten here."""
        if not self.rows:
            return
        index, ts, value = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        identities, series = np.array(list(self._known), dtype=np.uint64), self._series
        self._clear()
        yield _rows(series, identities, Samples(index, ts, value), self._buckets)


class Samples:
    """index int32[n] into series, ts int64[n] ms, value float64[n]."""

    __slots__ = ("index", "ts", "value")

    def __init__(self, index: npt.NDArray[np.int32], ts: npt.NDArray[np.int64], value: npt.NDArray[np.float64]) -> None:
        self.index, self.ts, self.value = index, ts, value


def _rows(series: Sequence[Series], identities: npt.NDArray[np.uint64], samples: Samples, buckets: int) -> Rows:
    labels = [labels_json(one) for one in series]
    order = sorted(range(len(series)), key=lambda at: (series[at].service, series[at].name, labels[at]))
    rank = np.empty(len(series), dtype=np.int64)
    rank[order] = np.arange(len(series))
    bucket = np.array([bucket_of(one.service, buckets) for one in series], dtype=np.int32)
    index = samples.index
    columns = pa.table(
        [
            pa.array(samples.ts).cast(TIME),
            words([one.service for one in series], index),
            words([one.name for one in series], index),
            words(labels, index),
            words([one.kind.value for one in series], index),
            words([one.unit for one in series], index),
            pa.array(identities.view(np.int64)[index]),
            null_where_nan(samples.value),
        ],
        schema=SCHEMAS[Table.SAMPLES],
    )
    return Rows(Table.SAMPLES, columns, bucket[index], rank[index])


def labels_json(series: Series) -> str:
    """The labels without the service, as JSON with sorted keys; `{}` where there are none."""
    return _encoder.encode({name: text for name, text in series.labels.items() if name != SERVICE_LABEL}).decode()
