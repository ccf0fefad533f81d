from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.batch import decode_batch
from pipeline.offline.dataset.manifest import read_manifest
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.tables import SCHEMAS, Table, bucket_of
from pipeline.records import Anomaly, Frame
from pipeline.stage import Topic
from tests.offline.dataset import flowed
from tests.offline.dataset.flowed import ALL, HOUR, START, Flowed, export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.installation import Installation


def samples_of(past: Flowed) -> list[tuple[int, int, float]]:
    """(series, ts, value) of everything on duri.samples, sorted."""
    found: list[tuple[int, int, float]] = []
    for output in past.of(Topic.SAMPLES):
        if "ce_type" in dict(output.headers):
            continue  # what ingest forwards for people
        batch = decode_batch(output.value)
        found += zip(batch.series.view(np.int64).tolist(), batch.ts.tolist(), batch.value.tolist(), strict=True)
    return sorted(found)


def rows_of(folder: Path, table: Table = Table.SAMPLES) -> pd.DataFrame:
    return pd.read_parquet(folder / table)


def table(folder: Path, name: Table) -> duckdb.DuckDBPyRelation:
    """A table as DuckDB sees the folder."""
    return duckdb.read_parquet(f"{folder}/{name}/**/*.parquet", hive_partitioning=True)


def as_tuples(frame: pd.DataFrame) -> list[tuple[int, int, float]]:
    ts = frame["timestamp"].astype("int64").to_numpy()  # ms, as it is stored
    return sorted(zip(frame["series"].tolist(), ts.tolist(), frame["value"].tolist(), strict=True))


def test_pandas_reads_every_sample_that_flowed(past: Flowed, exported: Path) -> None:
    """All samples on Kafka are in the folder, once each, with the labels of their series."""
    frame = rows_of(exported)
    assert as_tuples(frame) == samples_of(past)
    one = frame[(frame["name"] == "redis_memory_used_bytes") & (frame["service"] == "duri_brain")]
    assert len(one)
    assert set(one["kind"]) == {"gauge"}
    assert set(one["unit"]) == {"By"}
    assert all(json.loads(labels) is not None for labels in one["labels"].unique())


def test_duckdb_reads_frames_as_they_were_published(past: Flowed, exported: Path) -> None:
    """One SQL query over the folder gives each signal of each frame, nulls included."""
    frames = [Frame.model_validate_json(output.value) for output in past.of(Topic.FRAMES) if b"signals" in output.value]
    expected = sorted(
        (frame.service, int(frame.start.timestamp() * 1000), name, signal.value, signal.expected, signal.score)
        for frame in frames
        for name, signal in frame.signals.items()
    )
    columns = "service, epoch_ms(timestamp), signal, value, expected, score"
    found = table(exported, Table.FRAMES).project(columns).order("1, 2, 3").fetchall()
    assert found == expected


def test_the_folders_say_day_and_bucket(exported: Path) -> None:
    """`day` and `bucket` of the path are the UTC day and the service's bucket of every row."""
    found = table(exported, Table.SAMPLES).project("service, bucket, day, timestamp::date").distinct().fetchall()
    assert {service for service, *_ in found} == {"duri_core", "duri_brain", "duri_control", "duri_evolution"}
    for service, bucket, day, date in found:
        assert bucket == bucket_of(service, 16)
        assert day == date


@pytest.mark.parametrize("table", list(Table))
def test_each_file_has_the_documented_schema(exported: Path, table: Table) -> None:
    """Every table is there, with the columns and types of `SCHEMAS`."""
    files = read_manifest(exported).of(table)
    assert files
    for file in files:
        assert pq.read_schema(exported / file.path).equals(SCHEMAS[table])


def test_labels_are_whole_records(past: Flowed, exported: Path) -> None:
    """Anomalies carry the record as it was published, and its columns agree with it."""
    frame = rows_of(exported, Table.ANOMALIES)
    published = sorted(output.value.decode() for output in past.of(Topic.ANOMALIES))
    assert sorted(frame["record"]) == published
    for row in frame.itertuples():
        record = Anomaly.model_validate_json(row.record)
        assert (row.id, row.state, row.service, row.signal) == (record.id, record.state, record.service, record.signal)
    said = rows_of(exported, Table.FEEDBACK)
    assert said[["id", "verdict", "by"]].to_numpy().tolist() == [["f1", "false_alarm", "ada"]]
    assert rows_of(exported, Table.MAINTENANCE)["services"].tolist()[0].tolist() == ["x"]


def test_a_range_is_exact_in_event_time(past: Flowed, tmp_path: Path) -> None:
    """--from is included, --to is not; offsets outside are not read."""
    folder = tmp_path / "data"
    begin, end = START + HOUR, START + 2 * HOUR
    export(past, folder, Request(source="kafka", start=begin, end=end))
    assert as_tuples(rows_of(folder)) == [row for row in samples_of(past) if begin <= row[1] < end]
    starts = rows_of(folder, Table.FRAMES)["timestamp"]
    assert starts.min() == pd.Timestamp(begin, unit="ms", tz="UTC")
    assert starts.max() == pd.Timestamp(end - 60_000, unit="ms", tz="UTC")


def test_increments_are_the_whole(past: Flowed, exported: Path, tmp_path: Path) -> None:
    """A range, then what comes after it: every sample once, as in one export of all."""
    folder = tmp_path / "data"
    cut = START + HOUR + 30_500
    for request in (Request(source="kafka", end=cut), ALL, ALL):
        export(past, folder, request)
    assert as_tuples(rows_of(folder)) == samples_of(past)
    for table in (Table.FRAMES, Table.ANOMALIES, Table.FEEDBACK, Table.RECOMMENDATIONS):
        assert len(rows_of(folder, table)) == len(rows_of(exported, table)), table
    exports = read_manifest(folder).exports
    assert [bool(one.rows) for one in exports] == [True, True, False]


def test_what_came_since_is_appended(kafka: str, tmp_path: Path) -> None:
    """Two exports of all there is, with more published between them: nothing twice, nothing left out."""
    history = flowed.history(flowed.new_prefix(), kafka, hours=0.5)
    flowed.create(history.settings)
    half = len(history.outputs) // 2
    for outputs in (history.outputs[:half], history.outputs[half:]):
        flowed.publish(history.settings, outputs)
        export(history, tmp_path / "data")
    assert as_tuples(rows_of(tmp_path / "data")) == samples_of(history)


def test_two_exports_give_the_same_bytes(past: Flowed, exported: Path, tmp_path: Path) -> None:
    """The fingerprint depends on what was exported alone."""
    assert export(past, tmp_path / "again").fingerprint == read_manifest(exported).fingerprint


def test_the_command_tells_rate_and_time_left(installation: Installation, tmp_path: Path) -> None:
    """Without a terminal, lines on standard error; standard output says what was added. Times are ISO 8601."""
    folder = tmp_path / "data"
    done = installation.command("dataset", "export", "--out", str(folder), "--to", "2025-01-06T00:30:00Z")
    assert done.returncode == 0, done.stderr
    assert "rows, " in done.stderr
    assert " left" in done.stderr
    assert "samples" in done.stdout
    assert rows_of(folder)["timestamp"].max() == pd.Timestamp("2025-01-06T00:29:30Z")
