"""Labelled corpora from disk."""

from __future__ import annotations

import json

import pytest

from models.corpora import load_cloud, load_nab


def test_windows_of_nab_become_rows(tmp_path):
    """A window's times become its first and last row; both ends are inside."""
    (tmp_path / "data" / "real").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    rows = "".join(f"2014-04-01 00:{minute:02}:00,{minute}\n" for minute in range(0, 50, 5))
    (tmp_path / "data" / "real" / "a.csv").write_text("timestamp,value\n" + rows)
    windows = {"real/a.csv": [["2014-04-01 00:10:00.000000", "2014-04-01 00:20:00.000000"]]}
    (tmp_path / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    (file,) = load_nab(tmp_path)
    assert file.name == "real/a.csv"
    assert file.windows.tolist() == [[2, 4]]
    assert file.ts[1] - file.ts[0] == 300_000
    assert file.values[3] == 15.0


def test_missing_values_of_cloud_series_are_left_out(tmp_path):
    """Empty and NaN values are no samples; both ways of writing time are read as UTC."""
    (tmp_path / "domain").mkdir()
    rows = [
        '"2018-04-25T00:00:00Z",1,0',
        "2018-04-25 01:00:00,,1",
        "2018-04-25 02:00:00,nan,0",
        "2018-04-25 03:00:00,4,1",
    ]
    text = "\n".join(["TimeStamp,Value,Label", *rows])
    (tmp_path / "domain" / "s.csv").write_text(text)
    (file,) = load_cloud(tmp_path)
    assert file.values.tolist() == [1.0, 4.0]
    assert file.labels.tolist() == [False, True]
    assert (file.ts[1] - file.ts[0]) == 3 * 3_600_000


def test_a_folder_without_series_is_named(tmp_path):
    """The error says where nothing was found."""
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        load_cloud(tmp_path)
