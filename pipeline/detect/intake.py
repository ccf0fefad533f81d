"""Samples on their way into frames: those of the open frame (and late ones) go on, later ones wait in their frame."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.batch import SampleBatch, concatenate, decode_batch, encode_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt


class Rows:
    """n samples and the offset of the input record of each, int64[n]."""

    __slots__ = ("batch", "offset")

    def __init__(self, batch: SampleBatch, offset: npt.NDArray[np.int64]) -> None:
        self.batch = batch
        self.offset = offset

    def __len__(self) -> int:
        return len(self.offset)

    def pick(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """The rows where `mask` (bool[n]) is true, in order."""
        batch = self.batch
        part = SampleBatch(batch.series[mask], batch.ts[mask], batch.value[mask], batch.labels.filter(mask))
        return Rows(part, self.offset[mask])

    def by(self, frame: npt.NDArray[np.int64]) -> Iterator[tuple[int, Rows]]:
        """The rows of each frame (int64[n]) in order, the earliest frame first."""
        rows = self
        if (frame[1:] < frame[:-1]).any():
            order = np.argsort(frame, kind="stable")
            rows, frame = self._take(order), frame[order]
        cuts = [0, *(np.flatnonzero(frame[1:] != frame[:-1]) + 1).tolist(), len(frame)]
        for begin, end in itertools.pairwise(cuts):
            yield int(frame[begin]), rows.slice(begin, end)

    def _take(self, order: npt.NDArray[np.int64]) -> Rows:
        batch = self.batch
        part = SampleBatch(batch.series[order], batch.ts[order], batch.value[order], batch.labels.take(pa.array(order)))
        return Rows(part, self.offset[order])

    def slice(self, begin: int, end: int) -> Rows:
        """Rows `begin` to `end`; a view."""
        batch = self.batch
        labels = batch.labels.slice(begin, end - begin)
        part = SampleBatch(batch.series[begin:end], batch.ts[begin:end], batch.value[begin:end], labels)
        return Rows(part, self.offset[begin:end])


def join(parts: Sequence[Rows]) -> Rows:
    """All rows, in order."""
    if len(parts) == 1:
        return parts[0]
    return Rows(concatenate([part.batch for part in parts]), np.concatenate([part.offset for part in parts]))


class Intake:
    """Rows by frame: `open` those that belong to the open frame or an older one, the others wait for their frame."""

    def __init__(self, frame_ms: int) -> None:
        self._frame_ms = frame_ms
        self._open: list[Rows] = []
        self._waiting: dict[int, list[Rows]] = {}
        self.start: int | None = None
        """Start of the open frame, ms; None before the first sample."""
        self.waiting_rows = 0

    @property
    def end(self) -> int:
        """End of the open frame, ms."""
        if self.start is None:
            raise ValueError("no frame is open before the first sample")
        return self.start + self._frame_ms

    @property
    def last_waiting(self) -> int:
        """End of the last frame that samples wait for, ms; 0 where none wait."""
        return max(self._waiting, default=-self._frame_ms) + self._frame_ms

    def add(self, rows: Rows) -> None:
        """Take the rows of one input record."""
        frame = rows.batch.ts // self._frame_ms * self._frame_ms
        if self.start is None:
            self.start = int(frame.min())
        early = frame > self.start
        if not early.any():
            self._open.append(rows)
            return
        if not early.all():
            self._open.append(rows.pick(~early))
        if not early.all():
            rows, frame = rows.pick(early), frame[early]
        for start, part in rows.by(frame):
            self._waiting.setdefault(start, []).append(part)
            self.waiting_rows += len(part)

    def take(self) -> Rows | None:
        """The rows that need not wait, in the order of their arrival; None where there are none."""
        parts, self._open = self._open, []
        return join(parts) if parts else None

    def open_next(self, at_least: int) -> None:
        """The open frame is closed; open the next, or skip empty ones up to `at_least` (ms) before the next waiting."""
        following = self.end
        if at_least > following:
            following = max(following, min((at_least // self._frame_ms * self._frame_ms, *self._waiting)))
        self.start = following
        parts = self._waiting.pop(self.start, [])
        self.waiting_rows -= sum(len(part) for part in parts)
        self._open += parts

    def snapshot(self) -> dict[str, npt.NDArray[np.generic] | bytes]:
        """Copy of what waits; nothing but that is kept between two steps."""
        state: dict[str, npt.NDArray[np.generic] | bytes] = {}
        for start, parts in sorted(self._waiting.items()):
            rows = join(parts)
            state[f"{start}.batch"] = encode_batch(rows.batch)
            state[f"{start}.offset"] = rows.offset.copy()
        return state

    def restore(self, start: int | None, state: Mapping[str, npt.NDArray[np.generic] | bytes]) -> None:
        """Become the intake that gave this snapshot. Raises ValueError where it does not fit."""
        self.start = start
        self._open, self._waiting, self.waiting_rows = [], {}, 0
        for name in state:
            frame, _, part = name.partition(".")
            if part == "batch":
                offset = np.array(state[f"{frame}.offset"], dtype=np.int64)
                self._waiting[int(frame)] = [Rows(decode_batch(bytes(state[name])), offset)]
                self.waiting_rows += len(offset)
