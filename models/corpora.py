"""Labelled corpora from disk as arrays: NAB, and folders of labelled series.

Times are read as UTC.
"""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.contracts import Bools, Float64s, Int64s


class NabFile(NamedTuple):
    """One series of NAB.

    name      category/file.csv
    ts        int64[n] ms, ascending as the file has it
    values    float64[n]
    windows   int64[k, 2], first and last row of each labelled window
    """

    name: str
    ts: Int64s
    values: Float64s
    windows: Int64s

    @property
    def labels(self) -> Bools:
        """Rows inside a window, bool[n]."""
        inside = np.zeros(len(self.ts), np.bool_)
        for first, last in self.windows:
            inside[first : last + 1] = True
        return inside


class LabelledFile(NamedTuple):
    """One labelled series: name domain/file.csv, ts int64[n] ms, values float64[n], labels bool[n]."""

    name: str
    ts: Int64s
    values: Float64s
    labels: Bools


def load_nab(folder: Path) -> list[NabFile]:
    """Read `data/` and `labels/combined_windows.json` of NAB, by name.

    Raises FileNotFoundError where they are not there, ValueError that names file and line of what cannot be read.
    """
    place = folder / "labels" / "combined_windows.json"
    if not place.is_file():
        raise FileNotFoundError(
            f"{folder}: no labels/combined_windows.json; give the folder with NAB's data/ and labels/"
        )
    try:
        labels: dict[str, list[list[str]]] = json.loads(place.read_text(encoding="utf-8"))
        return [_nab_file(folder, name, spans) for name, spans in sorted(labels.items())]
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"{place}: expected series names, each with pairs of times ({error})") from error


def _nab_file(folder: Path, name: str, spans: list[list[str]]) -> NabFile:
    path = folder / "data" / name
    if not path.is_file():
        raise FileNotFoundError(f"{path}: is labelled, but not there; give the folder with NAB's data/ and labels/")
    rows = [_sample(place, row) for place, row in _rows(path, 2)]
    ts = np.array([at for at, _ in rows], np.int64)
    windows = [_window(path, ts, *span) for span in spans]
    return NabFile(name, ts, np.array([value for _, value in rows]), np.array(windows, np.int64).reshape(-1, 2))


def _window(path: Path, ts: Int64s, begin: str, end: str) -> tuple[int, int]:
    # Some series repeat an hour, so times cannot be searched by halves.
    after, before = np.flatnonzero(ts >= _ms(begin)), np.flatnonzero(ts <= _ms(end))
    if not len(after) or not len(before) or after[0] > before[-1]:
        raise ValueError(f"{path}: the labelled window {begin} to {end} lies outside the series")
    return int(after[0]), int(before[-1])


def load_labelled(folder: Path) -> list[LabelledFile]:
    """Read every `domain/series.csv` with the columns TimeStamp, Value, Label; missing values are left out.

    Raises FileNotFoundError where there is none, ValueError that names file and line of what cannot be read.
    """
    files = sorted(folder.glob("*/*.csv"))
    if not files:
        raise FileNotFoundError(f"{folder}: no domain/series.csv in it (columns TimeStamp, Value, Label)")
    return [_labelled_file(path) for path in files]


def _labelled_file(path: Path) -> LabelledFile:
    name = f"{path.parent.name}/{path.name}"
    rows = [(*_sample(place, row), _label(place, row[2])) for place, row in _rows(path, 3) if row[1].strip()]
    kept = [row for row in rows if math.isfinite(row[1])]
    if not kept:
        raise ValueError(f"{path}: holds no sample with a value")
    ts, values, labels = zip(*kept, strict=True)
    return LabelledFile(name, np.array(ts, np.int64), np.array(values), np.array(labels, np.bool_))


def _rows(path: Path, columns: int) -> Iterator[tuple[str, list[str]]]:
    """Give each row below the head with its place, `file:line`."""
    with path.open(newline="", encoding="utf-8") as lines:
        reader = csv.reader(lines)
        next(reader, None)
        for row in reader:
            place = f"{path}:{reader.line_num}"
            if len(row) < columns:
                raise ValueError(f"{place}: has {len(row)} columns where {columns} are expected")
            yield place, row


def _sample(place: str, row: list[str]) -> tuple[int, float]:
    try:
        return _ms(row[0]), float(row[1])
    except ValueError as error:
        raise ValueError(f"{place}: expected a time and a number, not {row[0]!r}, {row[1]!r}") from error


def _label(place: str, text: str) -> bool:
    if text.strip() not in ("0", "1"):
        raise ValueError(f"{place}: expected the label 0 or 1, not {text!r}")
    return text.strip() == "1"


def _ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
