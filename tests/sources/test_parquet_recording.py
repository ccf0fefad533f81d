from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import FileError
from pipeline.sources.parquet_recording import read_parquet
from pipeline.sources.recording import Naming

NOON = datetime(2025, 1, 7, 12, tzinfo=UTC)


def write(tmp_path, **columns):
    path = tmp_path / "long.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def test_long_form(tmp_path):
    """Times as timestamps, labels as JSON, k=v or null; missing values counted; rows in order of time."""
    path = write(
        tmp_path,
        Timestamp=[NOON + timedelta(seconds=30), NOON, NOON, NOON],
        service=["web", "web", "db", "db"],
        name=["hits_total", "hits_total", "load", "load"],
        labels=['{"code": "200"}', '{"code": "200"}', None, None],
        value=[5.0, 4.0, 0.5, None],
    )
    recording = read_parquet(path, Naming())
    assert recording.missing == 1
    named = [(recording.series[one].service, recording.series[one].name) for one in recording.index]
    assert named == [("web", "hits_total"), ("db", "load"), ("web", "hits_total")]
    np.testing.assert_array_equal(recording.value, [4.0, 0.5, 5.0])
    assert recording.ts[0] == NOON.timestamp() * 1000
    assert len(recording.series) == 2


def test_one_series_with_epoch_times(tmp_path):
    """Two columns are one series, named by the file."""
    recording = read_parquet(write(tmp_path, timestamp=[1736251200, 1736251500], value=[1, 2]), Naming(service="s"))
    assert recording.ts.tolist() == [1736251200000, 1736251500000]
    assert (recording.series[0].name, recording.series[0].service) == ("long", "s")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": [1], "value": [1.0]}, "expected the columns timestamp and value, found time, value"),
        ({"timestamp": [1], "value": ["x"]}, "x"),
        ({"timestamp": [None, 5], "value": [1.0, 1.0]}, "timestamp is missing in 1 rows"),
        ({"timestamp": [1], "value": [None]}, "no sample with a value|not implemented|null"),
        ({"timestamp": [1], "service": [None], "name": ["a"], "value": [1.0]}, "missing in some rows"),
        ({"timestamp": [1], "service": [""], "name": ["a"], "value": [1.0]}, "must not be empty"),
        ({"timestamp": [1], "service": ["s"], "name": ["a"], "labels": [{"k": "v"}], "value": [1.0]}, "nested"),
        ({"timestamp": [1], "service": ["s"], "name": ["a"], "labels": ["k"], "value": [1.0]}, "labels 'k'"),
        ({"timestamp": ["soon"], "value": [1.0]}, "timestamp 'soon'"),
    ],
)
def test_what_cannot_be_read_names_the_file(tmp_path, columns, message):
    """One line of the table for each way to be wrong."""
    path = write(tmp_path, **columns)
    with pytest.raises(FileError, match=message) as caught:
        read_parquet(path, Naming())
    assert str(caught.value).startswith(str(path))


def test_not_parquet(tmp_path):
    """A file that only calls itself Parquet, and one that is not there."""
    path = tmp_path / "wrong.parquet"
    path.write_text("timestamp,value\n")
    with pytest.raises(FileError, match="not a Parquet file"):
        read_parquet(path, Naming())
    with pytest.raises(FileError, match="cannot be read"):
        read_parquet(tmp_path / "nothing.parquet", Naming())
