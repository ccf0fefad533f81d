"""Labelled corpora from disk as arrays: NAB and the cloud series.

Both loaders take the folder of the corpus and raise FileNotFoundError where it is not there. Times are read
as UTC.
"""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
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


class LabelledFile(NamedTuple):
    """One labelled series: name domain/file.csv, ts int64[n] ms, values float64[n], labels bool[n]."""

    name: str
    ts: Int64s
    values: Float64s
    labels: Bools


def load_nab(folder: Path) -> list[NabFile]:
    """Read `data/` and `labels/combined_windows.json` of NAB, by name."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text())
    return [_nab_file(folder, name, spans) for name, spans in sorted(labels.items())]


def _nab_file(folder: Path, name: str, spans: list[list[str]]) -> NabFile:
    with (folder / "data" / name).open(newline="") as lines:
        rows = [(_ms(at), float(value)) for at, value in list(csv.reader(lines))[1:]]
    ts = np.array([at for at, _ in rows], np.int64)
    windows = [[np.flatnonzero(ts >= _ms(a))[0], np.flatnonzero(ts <= _ms(b))[-1]] for a, b in spans]
    return NabFile(name, ts, np.array([value for _, value in rows]), np.array(windows, np.int64).reshape(-1, 2))


def load_cloud(folder: Path) -> list[LabelledFile]:
    """Read every `domain/series.csv` with the columns TimeStamp, Value, Label; missing values are left out."""
    files = sorted(folder.glob("*/*.csv"))
    if not files:
        raise FileNotFoundError(f"no domain/series.csv in {folder}")
    return [_labelled_file(path) for path in files]


def _labelled_file(path: Path) -> LabelledFile:
    with path.open(newline="") as lines:
        rows = [row for row in list(csv.reader(lines))[1:] if row[1] and math.isfinite(float(row[1]))]
    return LabelledFile(
        f"{path.parent.name}/{path.name}",
        np.array([_ms(row[0]) for row in rows], np.int64),
        np.array([float(row[1]) for row in rows]),
        np.array([row[2].strip() == "1" for row in rows], np.bool_),
    )


def _ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
