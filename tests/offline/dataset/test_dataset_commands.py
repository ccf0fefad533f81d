"""`duri dataset` from-csv, describe and verify, which need no Kafka."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from pipeline.records import from_ms
from tests.builders import START
from tests.installation import duri

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "timestamp,service,name,labels,value\n"


def recorded(path: Path, services: tuple[str, ...] = ("shop", "cart"), minutes: int = 90) -> Path:
    """Two days' edge in long form: so many minutes before and after midnight."""
    lines = [HEADER]
    for minute in range(-minutes // 2, minutes // 2):
        at = from_ms(START + minute * 60_000).isoformat()
        lines += [f"{at},{service},http_requests_total,method=GET,{minute + 100}\n" for service in services]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A dataset of one file."""
    done = duri("dataset", "from-csv", recorded(tmp_path / "a.csv"), "--out", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    return tmp_path / "data"


def test_recorded_files_become_a_dataset(data: Path) -> None:
    """Every row, by day and bucket, with kind by the name and labels as JSON."""
    frame = pd.read_parquet(data / "samples")
    assert len(frame) == 180
    assert set(frame["labels"]) == {'{"method":"GET"}'}
    assert set(frame["kind"]) == {"counter"}
    assert sorted(path.name for path in (data / "samples").iterdir()) == ["day=2025-12-31", "day=2026-01-01"]


def test_more_files_are_added_and_none_twice(data: Path, tmp_path: Path) -> None:
    """A file that is in the dataset is refused by name; another one is added."""
    again = duri("dataset", "from-csv", tmp_path / "a.csv", "--out", data)
    assert again.returncode == 2
    assert f"has the samples of {tmp_path / 'a.csv'} already" in again.stderr
    more = duri("dataset", "from-csv", recorded(tmp_path / "b.csv", ("other",)), "--out", data, "--json")
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)["rows"] == {"samples": 270}


def test_a_bad_line_adds_nothing(data: Path, tmp_path: Path) -> None:
    """The second of two files is broken: file and line are named, and the dataset is as it was."""
    good, bad = recorded(tmp_path / "good.csv"), tmp_path / "bad.csv"
    bad.write_text(f"{HEADER}{START},shop,load,,not a number\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    done = duri("dataset", "from-csv", good, bad, "--out", data)
    assert done.returncode == 2
    assert f"{bad}:2: value 'not a number' is not a number" in done.stderr
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before


def test_a_bad_file_makes_no_dataset(tmp_path: Path) -> None:
    """Not even a folder."""
    done = duri("dataset", "from-csv", tmp_path / "none.csv", "--out", tmp_path / "data")
    assert done.returncode == 2
    assert not (tmp_path / "data").exists()


def test_describe_says_what_is_there(data: Path) -> None:
    """Rows, days and the source, for people and for programs."""
    told = duri("dataset", "describe", data)
    assert told.returncode == 0, told.stderr
    assert "samples" in told.stdout
    assert "180" in told.stdout
    plain = json.loads(duri("dataset", "describe", data, "--json").stdout)
    assert plain["rows"] == {"samples": 180}
    assert plain["from"] == from_ms(START - 45 * 60_000).isoformat()
    assert plain["exports"][0]["origins"][0].endswith("a.csv")


def test_a_whole_dataset_verifies(data: Path) -> None:
    """Exit status 0 and the number of files."""
    done = duri("dataset", "verify", data)
    assert (done.returncode, done.stdout) == (0, f"{data}: 4 files, all as the manifest says\n")


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def damage_alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_remove(path: Path) -> None:
    path.unlink()


def damage_add(path: Path) -> None:
    path.with_name("another.parquet").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_truncate, "truncated or replaced; restore it from a copy"),
        (damage_alter, "its SHA-256 is not the manifest's"),
        (damage_remove, "cannot be read (No such file or directory)"),
        (damage_add, "another.parquet: is not in the manifest; remove it"),
    ],
)
def test_damage_is_found(data: Path, damage: object, says: str) -> None:
    """Exit status 1, one line with the file and what to do."""
    path = next((data / "samples").rglob("*.parquet"))
    damage(path)  # type: ignore[operator]
    done = duri("dataset", "verify", data)
    assert done.returncode == 1
    [line] = done.stdout.splitlines()
    assert line.startswith(str(path.parent))
    assert says in line


@pytest.mark.parametrize("command", ["describe", "verify"])
def test_a_folder_without_manifest_is_named(tmp_path: Path, command: str) -> None:
    """Exit status 2, the folder, and what to do."""
    done = duri("dataset", command, tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}: is no dataset" in done.stderr


@pytest.mark.parametrize(
    ("manifest", "says"),
    [("{", "Invalid JSON"), ('{"schema_version": 9}', "has schema version 9, this program reads 1")],
)
def test_a_manifest_of_another_kind_is_named(data: Path, manifest: str, says: str) -> None:
    """Broken, or of a later program: exit status 2 with the file."""
    (data / "manifest.json").write_text(manifest, encoding="utf-8")
    done = duri("dataset", "describe", data)
    assert done.returncode == 2
    assert f"{data / 'manifest.json'}" in done.stderr
    assert says in done.stderr


def test_times_are_checked_before_anything_is_done(tmp_path: Path) -> None:
    """A time nobody can read, and an end before the start: exit status 2 with the option."""
    for words, says in (
        (("--from", "yesterday"), "--from"),
        (("--from", "2026-01-02T00:00:00Z", "--to", "2026-01-01T00:00:00Z"), "--to"),
    ):
        done = duri("dataset", "export", "--out", tmp_path / "data", *words)
        assert done.returncode == 2
        assert says in done.stderr
    assert not (tmp_path / "data").exists()
