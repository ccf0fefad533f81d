"""Recordings in Parquet: the long form (timestamp, service, name, labels, value), or (timestamp, value)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DecodeError, FileError
from pipeline.ingest.timestamps import column_to_millis
from pipeline.sources.csv_recording import parse_labels
from pipeline.sources.recording import Naming, Recording, series_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from pipeline.series import Series


def read_parquet(path: Path, naming: Naming) -> Recording:
    """The file's samples. Raises FileError that names the file, the column and the remedy."""
    try:
        table = pq.read_table(path)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error}); name an existing Parquet file") from error
    except pa.ArrowInvalid as error:
        raise FileError(f"{path}: is not a Parquet file ({error}); name files by what they hold") from error
    table = table.rename_columns([name.lower() for name in table.column_names])
    if not {"timestamp", "value"} <= set(table.column_names):
        found = ", ".join(table.column_names) or "none"
        raise FileError(f"{path}: expected the columns timestamp and value, found {found}; rename them")
    try:
        return _recording(path, table.combine_chunks(), naming)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, DecodeError, ValueError) as error:
        raise FileError(f"{path}: {error}") from error


def _recording(path: Path, table: pa.Table, naming: Naming) -> Recording:
    value = table["value"].cast(pa.float64()).to_numpy()
    there = np.isfinite(value)
    kept = table.filter(pa.array(there))
    if not kept.num_rows:
        raise ValueError("holds no sample with a value; give a file with at least one")
    index: npt.NDArray[np.int64] = np.zeros(kept.num_rows, dtype=np.int64)
    series = [naming.series_of(path)]
    if {"service", "name"} <= set(kept.column_names):
        index, series = _series(kept)
    missing = table.num_rows - kept.num_rows
    return Recording(series, index, _millis(kept["timestamp"]), value[there], missing).in_order()


def _millis(column: pa.ChunkedArray[Any]) -> npt.NDArray[np.int64]:
    if column.null_count:
        raise ValueError(f"timestamp is missing in {column.null_count} rows; fill it in or leave the rows out")
    if pa.types.is_timestamp(column.type):
        millis: npt.NDArray[np.int64] = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()).to_numpy()
        return millis
    values: list[Any] = column.to_pylist()
    return column_to_millis(values)


def _series(table: pa.Table) -> tuple[npt.NDArray[np.int64], list[Series]]:
    """Each row's series, found by dictionary encoding of the three columns that name it."""
    labels = _labels(table)
    code = np.zeros(table.num_rows, dtype=np.int64)
    columns: list[list[Any]] = []
    for column in (table["service"], table["name"], labels):
        if column.null_count:
            raise ValueError("service, name or labels are missing in some rows; fill them in")
        encoded = column.cast(pa.string()).combine_chunks().dictionary_encode()
        values = encoded.dictionary.to_pylist()
        code = code * len(values) + encoded.indices.to_numpy()
        columns.append(values)
    codes, index = np.unique(code, return_inverse=True)
    return index.astype(np.int64), [_decoded(int(one), columns) for one in codes]


def _decoded(code: int, columns: list[list[Any]]) -> Series:
    services, names, labels = columns
    rest, label = divmod(code, len(labels))
    service, name = divmod(rest, len(names))
    if not services[service] or not names[name]:
        raise ValueError("service and name must not be empty; fill both columns in")
    return series_of(names[name], services[service], parse_labels(labels[label]))


def _labels(table: pa.Table) -> pa.ChunkedArray[Any]:
    if "labels" not in table.column_names:
        return pa.chunked_array([pa.array([""] * table.num_rows, pa.string())])
    column = table["labels"]
    if pa.types.is_map(column.type) or pa.types.is_struct(column.type):
        raise ValueError("labels is a nested column; write it as text, JSON or k=v;k=v")
    text: Any = column.cast(pa.string())
    filled: pa.ChunkedArray[Any] = text.fill_null("")
    return filled
