"""Is a dataset what its manifest says: every file there, whole and unaltered, and none beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.offline.dataset.manifest import file_hash
from pipeline.offline.dataset.tables import SCHEMAS, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.offline.dataset.manifest import DataFile, Manifest


def problems(folder: Path, manifest: Manifest, report: Callable[[int], None] = lambda _: None) -> Iterator[str]:
    """One line for each difference between the folder and its manifest; `report` is told the bytes read so far."""
    done = 0
    for file in manifest.files:
        problem = problem_of(folder, file)
        if problem is not None:
            yield problem
        done += file.bytes
        report(done)
    known = {file.path for file in manifest.files}
    for table in Table:
        for path in sorted((folder / table).rglob("*.parquet")):
            if path.relative_to(folder).as_posix() not in known:
                yield f"{path}: is not in the manifest; remove it, for readers of the folder take it for a part"


def problem_of(folder: Path, file: DataFile) -> str | None:
    """What is wrong with one file, in a line that names it and the remedy; None where nothing is."""
    path = folder / file.path
    remedy = "restore it from a copy, or export into a new folder"
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"{path}: has {size} bytes, the manifest says {file.bytes}: truncated or replaced; {remedy}"
        if file_hash(path) != file.sha256:
            return f"{path}: its SHA-256 is not the manifest's: altered; {remedy}"
        metadata = pq.read_metadata(path)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror or error}); {remedy}"
    except pa.ArrowInvalid as error:
        return f"{path}: is no Parquet file ({error}); {remedy}"
    if metadata.num_rows != file.rows or metadata.schema.names != _leaves(file.table):
        return f"{path}: does not hold the manifest's rows and columns; {remedy}"
    return None


def _leaves(table: Table) -> list[str]:
    """Names of a table's columns in Parquet's own schema, where a list's is that of its elements."""
    return ["element" if pa.types.is_list(field.type) else field.name for field in SCHEMAS[table]]
