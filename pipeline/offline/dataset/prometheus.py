"""Filling a dataset from what a Prometheus server has stored: its very samples, in pieces of event time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from pipeline.errors import FileError
from pipeline.offline.dataset.sample_rows import SampleRows
from pipeline.offline.dataset.times import Span
from pipeline.offline.dataset.writer import adding
from pipeline.sources.windows import Reader, read_windows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.offline.dataset.manifest import Manifest
    from pipeline.offline.dataset.staging import Request
    from pipeline.offline.dataset.writer import DatasetWriter


class Server(Reader, Protocol):
    """What samples are read from; `PrometheusReader` is one."""

    def now_ms(self) -> int:
        """The server's time."""
        ...


class Reading(NamedTuple):
    """How to read: `delay_ms` before the server's present is the latest that counts as complete."""

    restart: bool = False
    buckets: int | None = None
    delay_ms: int = 10_000


def import_server(
    folder: Path,
    server: Server,
    request: Request,
    reading: Reading,
    report: Callable[[Span, int, int], None] = lambda *_: None,
) -> Manifest:
    """Add what the server has of the request's time; `report` is told the span, the time reached and the samples.

    A request without a start goes on where the last one with the same origins ended; without an end it reads up to the
    server's present. At most a million samples are in memory. Raises SourceError, and FileError where the dataset has
    these samples already or cannot be written.
    """
    with adding(folder, request, restart=reading.restart, buckets=reading.buckets) as writer:
        span = _span(folder, writer.manifest, request, server.now_ms() - reading.delay_ms)
        _read(writer, server, span, report)
        return writer.publish()


def _read(writer: DatasetWriter, server: Server, span: Span, report: Callable[[Span, int, int], None]) -> None:
    progress = writer.progress
    reached, unreadable, samples = progress.reached or span.start, progress.unreadable, 0
    rows = SampleRows(writer.buckets)
    # A reader leaves out the beginning of what it is asked for and takes its end; a dataset's spans are the other way.
    for recording, until in read_windows(server, reached - 1, span.end - 1):
        number = np.array([rows.intern(one.identity(), one) for one in recording.series], dtype=np.int32)
        rows.add_columns(number[recording.index], recording.ts, recording.value)
        reached, unreadable, samples = until + 1, unreadable + recording.missing, samples + len(recording)
        if rows.full:
            _write(writer, rows)
            writer.checkpoint(reached=reached, unreadable=unreadable)
        report(span, reached, samples)
    _write(writer, rows)
    writer.checkpoint(reached=span.end, unreadable=unreadable, complete=True)


def _write(writer: DatasetWriter, rows: SampleRows) -> None:
    for taken in rows.take():
        writer.write(taken)


def _span(folder: Path, manifest: Manifest, request: Request, present: int) -> Span:
    known = [one.end for one in manifest.exports if one.origins == request.origins and one.end is not None]
    start = max(known, default=None) if request.start is None else request.start
    if start is None:
        raise FileError(f"{folder}: has nothing of this server and these selectors yet; say --from when")
    end = present if request.end is None else min(request.end, present)
    if known and start < max(known):
        raise FileError(
            f"{folder}: has these samples up to {np.datetime64(max(known), 'ms')}Z already; leave --from out to go on "
            "there, or choose a new folder"
        )
    if end <= start:
        raise FileError(f"{folder}: the server has nothing after {np.datetime64(start, 'ms')}Z yet")
    return Span(start, end)
