"""An addition to a dataset while it is being made: beside it, so that nobody reads half of it.

1 lock      `DIR/.staging/lock`; a second writer is refused
2 finish    an addition that was complete, but not yet moved, when its writer ended
3 go on     with what is staged for the same request; what no checkpoint lists is removed
4 write     Parquet files below `.staging`; a checkpoint lists them, with how far the source was read
5 complete  the last checkpoint says that nothing is missing
6 move      each file to its place in the dataset (again harmless when repeated)
7 manifest  is replaced by one that knows them: from here on they are part of the dataset
8 clear     `.staging` goes
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from pipeline.errors import FileError
from pipeline.offline.dataset.manifest import (
    MANIFEST,
    DataFile,
    Export,
    Manifest,
    Model,
    PartitionRange,
    Source,
    read_manifest,
    replace_file,
    total_rows,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STAGING: Final = ".staging"
_PROGRESS: Final = "progress.json"
_LOCK: Final = "lock"


class Request(Model):
    """What a person asked for; the same request goes on where it stopped. Times in ms."""

    source: Source
    start: int | None = None
    end: int | None = None
    origins: tuple[str, ...] = ()


class Reading(Model):
    """How far one Kafka partition is read: from `start` up to, not including, `next`, of `end`."""

    topic: str
    partition: int
    start: int
    next: int
    end: int
    known: int = 0
    """Records below this offset were read before: of them only what is later than that range's end is new."""
    files: int = 0
    """Written so far."""
    resume: int | None = None
    """Offset of the first record that has something later than the range's end; None while there is none."""

    @property
    def finished(self) -> bool:
        """Whether it is read to its end."""
        return self.next >= self.end

    def range(self) -> PartitionRange:
        """What the manifest keeps of it."""
        resume = self.next if self.resume is None else self.resume
        return PartitionRange(
            topic=self.topic, partition=self.partition, start=self.start, end=self.next, resume=resume
        )


class Progress(Model):
    """A checkpoint: what is staged, and how far the source is read."""

    request: Request
    number: int
    """Number of this export in the dataset, from 1."""
    buckets: int
    after: int | None
    """Rows before this (ms) are in the dataset already; None where that cannot be."""
    readings: tuple[Reading, ...] = ()
    origins_done: int = 0
    reached: int | None = None
    """Where the source is read by time: up to, not including, this (ms)."""
    files: tuple[DataFile, ...] = ()
    unreadable: int = 0
    complete: bool = False


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """The staging folder, for this process alone. Raises FileError where another one has it."""
    staging = folder / STAGING
    existed = folder.is_dir()
    try:
        staging.mkdir(parents=True, exist_ok=True)
        lock = os.open(staging / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror}); choose a folder that can") from error
    try:
        _lock(lock, folder)
        yield staging
        _tidy(folder, staging, existed=existed)
    except BaseException:
        if not (staging / _PROGRESS).exists():
            _tidy(folder, staging, existed=existed)
        raise
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FileError(f"{folder}: another command is writing to it; wait for its end") from error


def _tidy(folder: Path, staging: Path, *, existed: bool) -> None:
    """Leave nothing behind where nothing is staged."""
    if (staging / _PROGRESS).exists():
        return
    shutil.rmtree(staging, ignore_errors=True)
    if not existed and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def load(staging: Path) -> Progress | None:
    """The last checkpoint, if there is one. Raises FileError where it cannot be read."""
    path = staging / _PROGRESS
    if not path.exists():
        return None
    try:
        return Progress.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise FileError(
            f"{path}: cannot be read; begin again with --restart, which throws away what is staged there"
        ) from error


def save(staging: Path, progress: Progress) -> None:
    """Make this the last checkpoint. Raises OSError."""
    replace_file(staging / _PROGRESS, progress.model_dump_json())


def in_progress(folder: Path) -> bool:
    """Whether an addition to the dataset is staged."""
    return (folder / STAGING / _PROGRESS).exists()


def discard(staging: Path) -> None:
    """Throw away what is staged; the lock stays."""
    for path in staging.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


def remove_unlisted(staging: Path, progress: Progress) -> None:
    """Remove staged files that were written after the last checkpoint."""
    listed = {staging / file.path for file in progress.files}
    for path in staging.rglob("*.parquet"):
        if path not in listed:
            path.unlink()


def publish(folder: Path, staging: Path, progress: Progress) -> Manifest:
    """Steps 6 to 8 for a complete addition; may be repeated. Raises FileError where a staged file is gone."""
    manifest = current(folder, progress.buckets)
    if len(manifest.exports) < progress.number:
        for file in progress.files:
            _move(staging / file.path, folder / file.path)
        manifest = manifest.model_copy(
            update={"exports": (*manifest.exports, _export(progress)), "files": (*manifest.files, *progress.files)}
        )
        replace_file(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    discard(staging)
    return manifest


def current(folder: Path, buckets: int) -> Manifest:
    """The dataset's manifest, an empty one where there is no dataset yet. Raises FileError."""
    return read_manifest(folder) if (folder / MANIFEST).exists() else Manifest(buckets=buckets)


def _move(staged: Path, place: Path) -> None:
    if staged.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(place)
    elif not place.exists():
        raise FileError(f"{staged}: is gone; begin again with --restart, which throws away what is staged")


def _export(progress: Progress) -> Export:
    request = progress.request
    return Export(
        source=request.source,
        start=request.start if request.start is not None else progress.after,
        end=request.end if request.end is not None else progress.reached,
        partitions=tuple(reading.range() for reading in progress.readings),
        origins=request.origins,
        rows=total_rows(progress.files),
        unreadable=progress.unreadable,
    )
