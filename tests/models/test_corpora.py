"""Labelled corpora from disk."""

from __future__ import annotations

import json

import pytest

from models.corpora import load_labelled, load_nab


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


def test_missing_values_are_left_out(tmp_path):
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
    (file,) = load_labelled(tmp_path)
    assert file.values.tolist() == [1.0, 4.0]
    assert file.labels.tolist() == [False, True]
    assert (file.ts[1] - file.ts[0]) == 3 * 3_600_000


def test_a_folder_without_series_is_named(tmp_path):
    """The error says where nothing was found."""
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        load_labelled(tmp_path)


def nab_folder(folder, rows, windows):
    """A NAB of one series."""
    (folder / "data" / "real").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "data" / "real" / "a.csv").write_text("timestamp,value\n" + rows)
    (folder / "labels" / "combined_windows.json").write_text(windows)
    return folder


ROW = "2014-04-01 00:00:00,1\n"
OUTSIDE = '{"real/a.csv": [["2015-01-01 00:00:00", "2015-01-02 00:00:00"]]}'


@pytest.mark.parametrize(
    ("rows", "windows", "place"),
    [
        (ROW + "2014-04-01 00:05:00,many\n", '{"real/a.csv": []}', "a.csv:3"),
        (ROW + "2014-04-01 00:05:00\n", '{"real/a.csv": []}', "a.csv:3"),
        ("yesterday,1\n", '{"real/a.csv": []}', "a.csv:2"),
        (ROW, '{"real/b.csv": []}', "b.csv"),
        (ROW, "[1, 2]", "combined_windows.json"),
        (ROW, "no JSON", "combined_windows.json"),
        (ROW, OUTSIDE, "a.csv"),
    ],
)
def test_what_is_wrong_in_nab_is_named(tmp_path, rows, windows, place):
    """File and line, or the file."""
    with pytest.raises((FileNotFoundError, ValueError), match=place):
        load_nab(nab_folder(tmp_path, rows, windows))


def test_a_folder_that_is_not_nab_is_named(tmp_path):
    """With what was looked for."""
    with pytest.raises(FileNotFoundError, match=r"combined_windows\.json"):
        load_nab(tmp_path)


@pytest.mark.parametrize(
    ("row", "place"),
    [
        ("2018-04-25 00:00:00,1", r"s\.csv:2"),
        ("2018-04-25 00:00:00,1,maybe", r"s\.csv:2"),
        ("2018-04-25 00:00:00,much,0", r"s\.csv:2"),
        ("2018-04-25 00:00:00,,0", r"s\.csv"),
    ],
)
def test_what_is_wrong_in_a_labelled_series_is_named(tmp_path, row, place):
    """File and line; a file without any value by its name."""
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain" / "s.csv").write_text(f"TimeStamp,Value,Label\n{row}\n")
    with pytest.raises(ValueError, match=place):
        load_labelled(tmp_path)
