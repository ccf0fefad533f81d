"""The manifest: what a dataset holds, from where, and the hash of each file, so that a training can be repeated."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import FileError
from pipeline.offline.dataset.tables import BUCKETS, SCHEMA_VERSION, Table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MANIFEST: Final = "manifest.json"

Source = Literal["kafka", "csv", "prometheus"]
Milliseconds = Annotated[int, Field(ge=0)]


class Model(BaseModel):
    """Strict and frozen; a manifest is not written by hand."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PartitionRange(Model):
    """Records `start` up to, not including, `end` of one Kafka partition were read."""

    topic: str
    partition: int
    start: int
    end: int
    resume: int
    """Offset from which the next increment reads: what lies between it and `end` is later than the range's end."""


class Export(Model):
    """One addition to the dataset. Times in ms; null where the range was open."""

    source: Source
    start: Milliseconds | None
    end: Milliseconds | None
    partitions: tuple[PartitionRange, ...] = ()
    origins: tuple[str, ...] = ()
    """Names of the files, or the queries, that it was read from."""
    rows: dict[Table, int]
    unreadable: int = 0
    """Records, or rows without a value, that were left out."""


class DataFile(Model):
    """One Parquet file: `path` is relative to the dataset; `first` and `last` are its timestamps, ms."""

    path: str
    table: Table
    day: str
    bucket: int
    rows: int
    bytes: int
    first: Milliseconds
    last: Milliseconds
    sha256: str


class Manifest(Model):
    """All exports and files."""

    schema_version: int = SCHEMA_VERSION
    buckets: Annotated[int, Field(ge=1, le=10_000)] = BUCKETS
    exports: tuple[Export, ...] = ()
    files: tuple[DataFile, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Hash of what the files hold and where they lie: equal for two datasets that train the same models."""
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda file: file.path):
            digest.update(f"{file.path}\0{file.sha256}\n".encode())
        return digest.hexdigest()

    def within(self, start: int | None, end: int | None) -> Manifest:
        """The same with the files that hold anything of this time only, ms; None: open."""
        kept = [
            file for file in self.files if (start is None or file.last >= start) and (end is None or file.first < end)
        ]
        return self.model_copy(update={"files": tuple(kept)})

    def of(self, table: Table) -> list[DataFile]:
        """Files of a table, by day, bucket and age."""
        found = [file for file in self.files if file.table is table]
        return sorted(found, key=lambda file: (file.day, file.bucket, file.path))

    def rows(self, table: Table) -> int:
        """Rows of a table."""
        return sum(file.rows for file in self.files if file.table is table)

    def span(self) -> tuple[int, int] | None:
        """First and last timestamp of samples and frames, ms; of all tables where there are neither."""
        data = [file for file in self.files if file.table in (Table.SAMPLES, Table.FRAMES)] or list(self.files)
        return (min(file.first for file in data), max(file.last for file in data)) if data else None


def read_manifest(folder: Path) -> Manifest:
    """The dataset's manifest. Raises FileError where there is none, or none that this program reads."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except OSError as error:
        raise FileError(
            f"{folder}: is no dataset ({MANIFEST}: {error.strerror}); name a folder that `duri dataset` has filled"
        ) from error
    return parse(path, text, Manifest)


def parse(path: Path, text: bytes, model: type[Manifest]) -> Manifest:
    """A manifest from its text. Raises FileError."""
    try:
        found = model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole file"
        raise FileError(
            f"{path}: cannot be read ({place}: {first['msg']}); restore it, or export into a new folder"
        ) from error
    if found.schema_version != SCHEMA_VERSION:
        raise FileError(
            f"{path}: has schema version {found.schema_version}, this program reads {SCHEMA_VERSION}; "
            "export again, or use the version of the program that wrote it"
        )
    return found


def replace_file(path: Path, content: str | bytes | memoryview) -> None:
    """Write beside, flush to disk, rename: whoever reads sees the old or the new content, however many write it."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; streamed. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def total_rows(files: Iterable[DataFile]) -> dict[Table, int]:
    """Rows by table."""
    rows: dict[Table, int] = {}
    for file in files:
        rows[file.table] = rows.get(file.table, 0) + file.rows
    return rows
