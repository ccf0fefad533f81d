"""Labelled windows: which anomalies mattered to people, from what they answered and what came of it.

A recommendation names the anomalies that it rests on. What is said of it is said of them:

    acknowledged, applied                           it mattered
    false_alarm, rejected                           it did not
    an outcome verified or regressed                it mattered: what was changed, mattered to the signal
    snooze; an outcome no_effect, expired, rejected says nothing of the anomaly

Where several things were said, the last one counts.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Final, NamedTuple

import pandas as pd

from pipeline.errors import DecodeError, FileError
from pipeline.sources.csv_recording import parse_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VERDICTS: Final[Mapping[str, bool]] = {
    "acknowledged": True,
    "applied": True,
    "false_alarm": False,
    "rejected": False,
}
_RESULTS: Final[Mapping[str, bool]] = {"verified": True, "regressed": True}


class LabelledWindow(NamedTuple):
    """From `start` to `end` (ms) this signal of this service was, or was not, in trouble that matters.

    `signal` is empty where the whole service is meant, `anomaly` where no anomaly is.
    """

    start: int
    end: int
    service: str
    signal: str
    matters: bool
    source: str
    anomaly: str = ""


def windows(
    anomalies: pd.DataFrame, recommendations: pd.DataFrame, feedback: pd.DataFrame, outcomes: pd.DataFrame
) -> list[LabelledWindow]:
    """Windows of all anomalies that something was said of, by time. The tables are a dataset's, in order of time."""
    said = pd.concat(
        [_said(feedback, "verdict", _VERDICTS, "feedback"), _said(outcomes, "result", _RESULTS, "outcome")]
    )
    last = said.sort_values("timestamp", kind="stable").drop_duplicates("recommendation", keep="last")
    if last.empty or anomalies.empty:
        return []
    named = recommendations.drop_duplicates("id", keep="last")[["id", "anomalies"]].explode("anomalies")
    of_anomaly = last.merge(named, left_on="recommendation", right_on="id").dropna(subset="anomalies")
    of_anomaly = of_anomaly.sort_values("timestamp", kind="stable").drop_duplicates("anomalies", keep="last")
    whole = anomalies.drop_duplicates("id", keep="last")[
        ["id", "service", "signal", "opened_at", "last_at", "closed_at"]
    ]
    found = of_anomaly.merge(whole, left_on="anomalies", right_on="id", suffixes=("_said", ""))
    ends = found["closed_at"].fillna(found["last_at"])
    rows = zip(
        _ms(found["opened_at"]),
        _ms(ends),
        found["service"].astype(str),
        found["signal"].astype(str),
        found["matters"].astype(bool),
        found["source"],
        found["anomalies"],
        strict=True,
    )
    return sorted(LabelledWindow(*row) for row in rows)


def _said(table: pd.DataFrame, column: str, meaning: Mapping[str, bool], source: str) -> pd.DataFrame:
    matters = table[column].astype(object).map(dict(meaning))
    told = table.loc[matters.notna(), ["timestamp", "recommendation"]]
    return told.assign(matters=matters[matters.notna()].astype(bool), source=source)


def _ms(times: pd.Series) -> list[int]:
    found: list[int] = times.dt.as_unit("ms").astype("int64").tolist()
    return found


def read_windows(path: Path) -> list[LabelledWindow]:
    """Windows from a CSV: start, end, service, and perhaps signal and matters (1 or 0; left out: 1).

    Raises FileError that names file, line and remedy.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            if not {"start", "end", "service"} <= set(reader.fieldnames or ()):
                raise FileError(
                    f"{path}:1: expected the columns start, end and service (signal, matters); add that header"
                )
            return sorted(_window(path, reader.line_num, row) for row in reader)
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: cannot be read ({error}); name a CSV of windows in UTF-8") from error


def _window(path: Path, line: int, row: Mapping[str, str | None]) -> LabelledWindow:
    try:
        start, end = parse_time(row["start"] or ""), parse_time(row["end"] or "")
    except DecodeError as error:
        raise FileError(f"{path}:{line}: {error}") from error
    if end <= start or not row["service"]:
        raise FileError(f"{path}:{line}: the window ends before it starts, or names no service; correct the line")
    matters = (row.get("matters") or "1").strip()
    if matters not in ("0", "1"):
        raise FileError(f"{path}:{line}: matters is {matters!r}; write 1 where it mattered, else 0")
    return LabelledWindow(start, end, row["service"], row.get("signal") or "", matters == "1", "csv")
