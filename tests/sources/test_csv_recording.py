from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import FileError
from pipeline.series import Kind
from pipeline.sources.csv_recording import parse_labels, parse_time, parse_value, read_csv
from pipeline.sources.recording import Naming, metric_of_stem

NOON_MS = 1_736_251_200_000


def write(tmp_path, text: str, name: str = "cpu_util_5f.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2025-01-07 12:00:00", NOON_MS),
        ("2025-01-07T12:00:00Z", NOON_MS),
        ("2025-01-07T13:00:00+01:00", NOON_MS),
        ("1736251200", NOON_MS),
        ("1736251200000", NOON_MS),
        (" 1736251200.0 ", NOON_MS),
        ("1736251200000000000", NOON_MS),
    ],
)
def test_times(text, ms):
    """ISO 8601, and numbers told by their magnitude."""
    assert parse_time(text) == ms


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.5", 1.5), (" 2 ", 2.0), ("1e3", 1000.0), ("", None), ("NaN", None), ("null", None), ("inf", None)],
)
def test_values(text, value):
    """Missing and infinite ones are None."""
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("", {}),
        ('{"a": "b", "n": "1"}', {"a": "b", "n": "1"}),
        ("a=b;n=1", {"a": "b", "n": "1"}),
        ("path=/x=y", {"path": "/x=y"}),
    ],
)
def test_labels(text, labels):
    """JSON or k=v;k=v."""
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    "text",
    [
        "timestamp,value\n2025-01-07 12:00:00,1.5\n2025-01-07 12:05:00,2\n",
        "TimeStamp,Value,Label\n2025-01-07 12:00:00,1.5,0\n2025-01-07 12:05:00,2,1\n",
        "\ufefftimestamp,value\r\n1736251200,1.5\r\n\r\n1736251500,2\r\n",
        "value,timestamp\n2,1736251500\n1.5,1736251200\n",
    ],
)
def test_one_series_in_all_its_spellings(tmp_path, text):
    """Case, further columns, byte order marks, empty lines and order do not matter."""
    recording = read_csv(write(tmp_path, text), Naming())
    np.testing.assert_array_equal(recording.ts, [NOON_MS, NOON_MS + 300_000])
    np.testing.assert_array_equal(recording.value, [1.5, 2.0])
    (series,) = recording.series
    assert (series.name, series.service, series.kind) == ("cpu_util", "cpu_util_5f", Kind.GAUGE)


def test_name_and_service_can_be_given(tmp_path):
    """They win over the file's name."""
    path = write(tmp_path, "timestamp,value\n1736251200,1\n")
    (series,) = read_csv(path, Naming("load", "web")).series
    assert (series.name, series.service) == ("load", "web")


def test_long_form(tmp_path):
    """Service, name and labels per row; kind by the name; rows in order of time."""
    text = (
        "timestamp,service,name,labels,value\n"
        '1736251230,web,hits_total,"{""code"": ""200""}",5\n'
        "1736251200,web,hits_total,code=200,4\n"
        "1736251200,db,load,,\n"
        "1736251200,db,load,,0.5\n"
    )
    recording = read_csv(write(tmp_path, text), Naming())
    assert recording.missing == 1
    assert [one.service for one in recording.series] == ["web", "web", "db"]
    assert recording.series[0].labels == {"code": "200", "service": "web"}
    assert recording.series[0].kind is Kind.COUNTER
    assert recording.series[0].identity() == recording.series[1].identity()
    np.testing.assert_array_equal(recording.value, [4.0, 0.5, 5.0])


def test_missing_values_are_left_out_and_counted(tmp_path):
    """They are gaps, not zeros."""
    recording = read_csv(write(tmp_path, "timestamp,value\n1,\n2,nan\n3,1\n"), Naming())
    assert (len(recording), recording.missing) == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r":1: expected a header with timestamp and value .*found nothing; add that header"),
        ("time,v\n1,2\n", r":1: expected a header .*found time, v"),
        ("timestamp,value\nyesterday,1\n", r":2: timestamp 'yesterday' is neither a number nor ISO 8601"),
        ("timestamp,value\n1,2\n-5,1\n", r":3: timestamp -5.0 is not a time after 1970"),
        ("timestamp,value\n1,high\n", r":2: value 'high' is not a number; write a number"),
        ("timestamp,value\n1,1\n2\n", r":3: expected 2 fields as in the header, found 1; complete the line"),
        ('timestamp,value\n1,"1\n', r":2: not valid CSV"),
        ("timestamp,value\n1,\n", r"holds no sample with a value"),
        ("timestamp,service,name,labels,value\n1,,load,,1\n", r":2: service and name must not be empty"),
        ("timestamp,service,name,labels,value\n1,web,load,code,1\n", r":2: labels 'code' cannot be read; write k=v"),
        ("timestamp,service,name,labels,value\n1,web,load,{1},1\n", r":2: labels '\{1\}' are not a JSON object"),
    ],
)
def test_what_cannot_be_read_names_file_line_and_remedy(tmp_path, text, message):
    """One line of the table for each way to be wrong."""
    path = write(tmp_path, text)
    with pytest.raises(FileError, match=message) as caught:
        read_csv(path, Naming())
    assert str(caught.value).startswith(str(path))


def test_missing_and_binary_files(tmp_path):
    """A file that is not there, and one that is no text."""
    with pytest.raises(FileError, match="cannot be read"):
        read_csv(tmp_path / "nothing.csv", Naming())
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"timestamp,value\n\xff\xfe\n")
    with pytest.raises(FileError, match="not UTF-8"):
        read_csv(binary, Naming())


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("ec2_cpu_utilization_24ae8d", "ec2_cpu_utilization"),
        ("nyc_taxi", "nyc_taxi"),
        ("app2-01", "app2"),
        ("exchange-2_cpc_results", "exchange_2_cpc_results"),
        ("TravelTime_387", "TravelTime"),
        ("123", "123"),
        ("--", "value"),
    ],
)
def test_metric_names_from_file_names(stem, name):
    """Without the identifier at the end."""
    assert metric_of_stem(stem) == name
