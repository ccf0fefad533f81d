"""Filling a dataset from recordings: files in CSV or Parquet, or whatever else gives recordings one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import FileError
from pipeline.offline.dataset.sample_rows import SampleRows
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.writer import adding
from pipeline.sources.recording import Naming
from pipeline.sources.replay import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipeline.offline.dataset.manifest import Manifest
    from pipeline.offline.dataset.writer import DatasetWriter
    from pipeline.sources.recording import Recording


def import_files(
    folder: Path,
    files: Sequence[Path],
    naming: Naming | None = None,
    *,
    restart: bool = False,
    buckets: int | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> Manifest:
    """Add the samples of these files to the dataset in `folder`; `report` is told how many files are done.

    One file is in memory at a time. Raises FileError that names file, line and remedy; nothing is added then.
    """
    request = Request(source="csv", origins=tuple(str(path) for path in files))
    with adding(folder, request, restart=restart, buckets=buckets) as writer:
        _refuse_again(folder, writer.manifest, request)
        progress = writer.progress
        unreadable = progress.unreadable
        try:
            for done, path in enumerate(files, start=1):
                if done <= progress.origins_done:
                    continue
                recording = read([path], naming or Naming())
                unreadable += recording.missing
                add_recording(writer, recording)
                writer.checkpoint(origins_done=done, unreadable=unreadable, complete=done == len(files))
                report(done)
        except FileError:
            writer.discard()
            raise
        return writer.publish()


def add_recording(writer: DatasetWriter, recording: Recording) -> None:
    """Write a recording's samples. Raises FileError."""
    rows = SampleRows(writer.buckets)
    number = np.array([rows.intern(one.identity(), one) for one in recording.series], dtype=np.int32)
    rows.add_columns(number[recording.index], recording.ts, recording.value)
    for taken in rows.take():
        writer.write(taken)


def _refuse_again(folder: Path, manifest: Manifest, request: Request) -> None:
    known = {origin for one in manifest.exports for origin in one.origins}
    again = [origin for origin in request.origins if origin in known]
    if again:
        raise FileError(f"{folder}: has the samples of {again[0]} already; leave that file out, or choose a new folder")
