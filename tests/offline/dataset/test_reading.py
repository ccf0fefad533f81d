from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import FileError, SettingsError
from pipeline.offline import Dataset, Selection, Span
from pipeline.offline.dataset.labels import LabelledWindow, read_windows, windows
from pipeline.offline.dataset.tables import Table
from pipeline.offline.dataset.times import split
from tests.builders import START
from tests.installation import duri
from tests.offline.dataset.flowed import HOUR

if TYPE_CHECKING:
    from pathlib import Path

SERVICES = ["duri_brain", "duri_control", "duri_core", "duri_evolution"]


@pytest.fixture(scope="module")
def dataset(exported: Path) -> Dataset:
    return Dataset(exported)


def test_it_says_what_it_has(dataset: Dataset) -> None:
    """Services, signals and the span of time, without a table being loaded."""
    assert dataset.services() == SERVICES
    assert "http.latency.p95" in dataset.signals()
    assert dataset.span.days == pytest.approx(3 / 24, abs=0.01)
    assert len(dataset.fingerprint) == 64


def test_frames_are_a_pandas_table(dataset: Dataset) -> None:
    """A row a service and frame, a column a signal; a selection of service and time narrows it."""
    begin = dataset.span.start + HOUR
    selection = Selection(["duri_core"], begin, begin + HOUR)
    frame = dataset.frames(selection, ["http.latency.p95", "http.rps"])
    assert list(frame.columns) == ["http.latency.p95", "http.rps"]
    assert frame.index.get_level_values("service").unique().tolist() == ["duri_core"]
    times = frame.index.get_level_values("timestamp")
    assert len(times) == 60
    assert times.min() == pd.Timestamp(begin, unit="ms", tz="UTC")


def test_a_cube_has_the_same_numbers(dataset: Dataset) -> None:
    """Time, service, signal: the values of the pandas table at their places, NaN elsewhere."""
    signals = ["http.rps", "redis.memory.utilisation"]
    cube = dataset.cube(SERVICES, signals)
    assert cube.value.shape == (len(cube.start), 4, 2)
    assert cube.step_ms == 60_000
    table = dataset.frames(None, signals)
    for at, service in enumerate(SERVICES):
        mine = table.loc[service].reindex(pd.to_datetime(cube.start, unit="ms", utc=True))
        assert np.array_equal(cube.value[:, at, :], mine[signals].to_numpy(), equal_nan=True)


def test_a_scan_streams_in_batches(dataset: Dataset) -> None:
    """Together its batches are the table; of a service's rows no other bucket's files are read."""
    batches = list(dataset.scan(Table.SAMPLES, Selection(["duri_core"]), ["service", "value"]))
    whole = dataset.read(Table.SAMPLES)
    assert sum(batch.num_rows for batch in batches) == (whole["service"] == "duri_core").sum()
    files = dataset._files(Table.SAMPLES, Selection(["duri_core"]))
    assert len({file.bucket for file in files}) == 1


def test_times_may_be_given_in_any_form(dataset: Dataset) -> None:
    """Milliseconds, ISO 8601 and datetimes mean the same; what is none is refused with an example."""
    forms = (1_736_125_200_000, "2025-01-06T01:00:00Z", datetime(2025, 1, 6, 1, tzinfo=UTC))
    lengths = {len(dataset.read(Table.FRAMES, Selection(end=form))) for form in forms}
    assert len(lengths) == 1
    with pytest.raises(SettingsError, match="give a time like"):
        dataset.read(Table.FRAMES, Selection(end="noon"))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    """The file, and the command that shows what is damaged."""
    (tmp_path / "a.csv").write_text(f"timestamp,value\n{START},1\n", encoding="utf-8")
    assert duri("dataset", "from-csv", tmp_path / "a.csv", "--out", tmp_path / "data").returncode == 0
    dataset = Dataset(tmp_path / "data")
    path = dataset.folder / dataset.manifest.files[0].path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileError, match=rf"{path}: cannot be read .*`duri dataset verify"):
        dataset.read(Table.SAMPLES)


def test_frames_that_are_not_there_are_an_error(dataset: Dataset) -> None:
    """A service that has none: not an empty table that fails later."""
    with pytest.raises(FileError, match="has no frames of these services"):
        dataset.frames(Selection(["nobody"]))
    with pytest.raises(FileError, match="has no frames of these services"):
        dataset.cube(["nobody"], ["http.rps"])


@given(
    shares=st.lists(st.floats(0.05, 1.0), min_size=1, max_size=5),
    minutes=st.integers(0, 90),
    days=st.integers(30, 400),
)
def test_parts_never_leak_into_each_other(shares: list[float], minutes: int, days: int) -> None:
    """Parts follow each other at least a gap apart, and stay within the whole."""
    whole, gap = Span(START, START + days * 24 * HOUR), timedelta(minutes=minutes)
    parts = list(split(whole, {str(at): share for at, share in enumerate(shares)}, gap).values())
    assert parts[0].start == whole.start
    assert parts[-1].end == whole.end
    for before, after in pairwise(parts):
        assert after.start - before.end == minutes * 60_000
        assert before.start < before.end


def test_a_span_too_short_for_its_parts_is_an_error() -> None:
    """An hour with gaps of half an hour has no three parts; a share of nothing is no part."""
    with pytest.raises(FileError, match="too short for the part 'a'"):
        split(Span(START, START + HOUR), {"a": 1, "b": 1, "c": 1}, timedelta(minutes=30))
    with pytest.raises(SettingsError, match="shares must be positive"):
        split(Span(START, START + HOUR), {"a": 0}, timedelta(0))


def at(minute: int) -> pd.Timestamp:
    return pd.Timestamp(START + minute * 60_000, unit="ms", tz="UTC").as_unit("ms")


def answered(*said: tuple[str, str]) -> list[LabelledWindow]:
    """Windows of three anomalies with a recommendation each, after these verdicts or results."""
    names = ["a", "b", "c"]
    anomalies = pd.DataFrame(
        {
            "id": names,
            "service": "shop",
            "signal": "http.rps",
            "opened_at": [at(0), at(10), at(20)],
            "last_at": [at(5), at(15), at(25)],
            "closed_at": [at(6), pd.NaT, at(26)],
        }
    )
    recommendations = pd.DataFrame({"id": ["ra", "rb", "rc"], "anomalies": [[name] for name in names]})
    rows = [{"timestamp": at(100 + n), "recommendation": who, "word": word} for n, (who, word) in enumerate(said)]
    told = pd.DataFrame(rows, columns=["timestamp", "recommendation", "word"])
    results = told["word"].isin(["verified", "regressed", "no_effect"])
    feedback = told[~results].rename(columns={"word": "verdict"})
    outcomes = told[results].rename(columns={"word": "result"})
    return windows(anomalies, recommendations, feedback, outcomes)


def test_what_is_said_of_advice_labels_its_anomalies() -> None:
    """Applied and verified: it mattered. Rejected: it did not. Of the third nobody spoke."""
    assert answered(("ra", "applied"), ("rb", "false_alarm"), ("ra", "verified")) == [
        LabelledWindow(START, START + 360_000, "shop", "http.rps", True, "outcome", "a"),
        LabelledWindow(START + 600_000, START + 900_000, "shop", "http.rps", False, "feedback", "b"),
    ]


def test_the_last_word_counts() -> None:
    """Acknowledged, then found to be a false alarm; a snooze says nothing."""
    [window] = answered(("rc", "acknowledged"), ("rc", "false_alarm"), ("rc", "snooze"))
    assert (window.anomaly, window.matters) == ("c", False)
    assert answered(("rc", "snooze")) == []


def test_windows_from_a_file(tmp_path: Path) -> None:
    """start, end and service are enough; a bad line is named."""
    path = tmp_path / "windows.csv"
    path.write_text(f"start,end,service,signal,matters\n{START},{START + HOUR},shop,,\n", encoding="utf-8")
    assert read_windows(path) == [LabelledWindow(START, START + HOUR, "shop", "", True, "csv")]
    path.write_text(f"start,end,service\n{START},{START},shop\n", encoding="utf-8")
    with pytest.raises(FileError, match=rf"{path}:2: the window ends before it starts"):
        read_windows(path)


def test_labels_of_a_dataset(dataset: Dataset) -> None:
    """The history's answer names no recommendation that there is: no window, and no error."""
    assert dataset.windows() == []
