"""Recordings in CSV: (timestamp, value) for one series, or the long form for many.

timestamp,value                          one series; other columns are ignored, upper and lower case are one
timestamp,service,name,labels,value      many series; labels as JSON or as `k=v;k=v`, may be left out or empty
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from pipeline.errors import DecodeError, FileError
from pipeline.ingest.timestamps import to_millis
from pipeline.sources.recording import Naming, Recording, series_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pipeline.series import Series

_MISSING = frozenset({"", "nan", "null", "none", "na", "n/a"})
_labels_decoder = msgspec.json.Decoder(dict[str, str], strict=False)


@dataclass(slots=True)
class Columns:
    """Rows as they are read; each series once."""

    series: list[Series] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    ts: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    missing: int = 0
    known: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(service, name, labels as written) to the series' number."""

    def recording(self) -> Recording:
        """What was read, in order of time."""
        return Recording(
            series=self.series,
            index=np.array(self.index, dtype=np.int64),
            ts=np.array(self.ts, dtype=np.int64),
            value=np.array(self.value, dtype=np.float64),
            missing=self.missing,
        ).in_order()

    def number_of(self, service: str, name: str, labels: str) -> int:
        """Number of this series, new or known. Raises ValueError where the labels cannot be read."""
        key = (service, name, labels)
        number = self.known.get(key)
        if number is None:
            if not service or not name:
                raise ValueError("service and name must not be empty; fill both columns in")
            number = self.known[key] = len(self.series)
            self.series.append(series_of(name, service, parse_labels(labels)))
        return number


def read_csv(path: Path, naming: Naming) -> Recording:
    """The file's samples. Raises FileError that names file, line and remedy."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return _read(path, _numbered(path, lines), naming)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}); name an existing file") from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path}: is not UTF-8 text (byte {error.start}); convert it, for instance with iconv"
        ) from error


def _read(path: Path, rows: Iterator[tuple[int, list[str]]], naming: Naming) -> Recording:
    line, header = next(rows, (1, []))
    places = {column.strip().lower(): place for place, column in enumerate(header)}
    if not {"timestamp", "value"} <= places.keys():
        found = ", ".join(header) or "nothing"
        raise FileError(
            f"{path}:{line}: expected a header with timestamp and value "
            f"(long form: timestamp, service, name, labels, value), found {found}; add that header"
        )
    columns = Columns()
    long_form = {"service", "name"} <= places.keys()
    if not long_form:
        columns.series.append(naming.series_of(path))
    for line, row in rows:
        try:
            _take(row, places, columns, long_form=long_form)
        except (ValueError, DecodeError) as error:
            raise FileError(f"{path}:{line}: {error}") from error
    if not columns.ts:
        raise FileError(f"{path}: holds no sample with a value; give a file with at least one")
    return columns.recording()


def _numbered(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their (last) line, without empty lines."""
    reader = csv.reader(lines, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise FileError(
            f"{path}:{reader.line_num}: not valid CSV: {error}; quote fields that hold commas or quotes"
        ) from error


def _take(row: Sequence[str], places: dict[str, int], columns: Columns, *, long_form: bool) -> None:
    """Read one row into the columns. Raises ValueError or DecodeError that says what is wrong with it."""
    if len(row) < len(places):
        raise ValueError(f"expected {len(places)} fields as in the header, found {len(row)}; complete the line")
    ts = parse_time(row[places["timestamp"]])
    value = parse_value(row[places["value"]])
    if value is None:
        columns.missing += 1
        return
    number = 0
    if long_form:
        labels = row[places["labels"]] if "labels" in places else ""
        number = columns.number_of(row[places["service"]].strip(), row[places["name"]].strip(), labels)
    columns.index.append(number)
    columns.ts.append(ts)
    columns.value.append(value)


def parse_time(text: str) -> int:
    """ISO 8601, or a number since the epoch (s, ms, µs or ns told by magnitude), as ms. Raises DecodeError."""
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return to_millis(text)
    return to_millis(number)


def parse_value(text: str) -> float | None:
    """The number, or None where it is missing or not finite. Raises ValueError for anything else."""
    text = text.strip()
    if text.lower() in _MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(
            f"value {text[:40]!r} is not a number; write a number, or nothing where it is missing"
        ) from None
    return value if math.isfinite(value) else None


def parse_labels(text: str) -> dict[str, str]:
    """Labels from JSON (`{"k": "v"}`) or `k=v;k=v`. Raises ValueError."""
    text = text.strip()
    if not text:
        return {}
    if text.startswith("{"):
        try:
            return _labels_decoder.decode(text)
        except msgspec.DecodeError as error:
            raise ValueError(
                f'labels {text[:40]!r} are not a JSON object of texts ({error}); write {{"k": "v"}}'
            ) from error
    labels = {}
    for part in text.split(";"):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"labels {text[:40]!r} cannot be read; write k=v;k=v or a JSON object")
        labels[key.strip()] = value.strip()
    return labels
