"""What an export leaves behind that does not come to its end."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from pipeline.errors import BrokerError, FileError
from pipeline.offline.dataset import kafka as exporting
from pipeline.offline.dataset import partition_reader, sample_rows, staging
from pipeline.offline.dataset.manifest import read_manifest
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.writer import DatasetWriter, adding
from pipeline.runtime.clients import admin_client
from pipeline.stage import Topic
from tests.offline.dataset import flowed
from tests.offline.dataset.flowed import export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.offline.dataset.flowed import Flowed


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint every few thousand samples, as a long export has them."""
    monkeypatch.setattr(sample_rows, "_MOST_ROWS", 5_000)
    monkeypatch.setattr(partition_reader, "_POLL_BYTES", 100_000)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("stopped_at", [1, 4, 9])
def test_a_killed_export_goes_on_where_it_stopped(past: Flowed, tmp_path: Path, stopped_at: int) -> None:
    """Killed at any checkpoint: no dataset is there; repeated, it is the dataset of an export that was not killed."""
    checkpoint, taken = DatasetWriter.checkpoint, []
    with patch.object(DatasetWriter, "checkpoint", autospec=True, side_effect=checkpoint) as unhurt:
        whole = export(past, tmp_path / "whole")

    def dying(self: DatasetWriter, **how: object) -> None:
        checkpoint(self, **how)  # type: ignore[arg-type]
        taken.append(how)
        if len(taken) == stopped_at:
            raise Killed

    folder = tmp_path / "data"
    with patch.object(DatasetWriter, "checkpoint", dying), pytest.raises(Killed):
        export(past, folder)
    assert [path.name for path in folder.iterdir()] == [staging.STAGING]
    with pytest.raises(FileError, match="is no dataset"):
        read_manifest(folder)
    with patch.object(DatasetWriter, "checkpoint", autospec=True, side_effect=checkpoint) as again:
        resumed = export(past, folder)
    assert resumed == whole
    assert again.call_count == unhurt.call_count - stopped_at
    assert not (folder / staging.STAGING).exists()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("moved", [0, 1, 5])
def test_killed_while_files_move_into_place(past: Flowed, tmp_path: Path, moved: int) -> None:
    """Killed between two renames, or before the manifest: the next command finishes it, and nothing is there twice."""
    folder = tmp_path / "data"
    move, done = staging._move, []

    def dying(staged: Path, place: Path) -> None:
        if len(done) == moved:
            raise Killed
        done.append(place)
        move(staged, place)

    with patch.object(staging, "_move", dying), pytest.raises(Killed):
        export(past, folder)
    manifest = export(past, folder)
    assert manifest.exports[0] == export(past, tmp_path / "whole").exports[0]
    assert not any(one.rows for one in manifest.exports[1:])


def test_a_full_disk_leaves_the_dataset_as_it_was(past: Flowed, tmp_path: Path) -> None:
    """One message that names the folder and what to do; once there is room, the same command goes on."""
    folder = tmp_path / "data"
    cut = flowed.START + flowed.HOUR
    before = export(past, folder, Request(source="kafka", end=cut))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        patch.object(os, "fsync", full),
        pytest.raises(FileError, match=r"No space left on device.*repeat the command"),
    ):
        export(past, folder)
    assert read_manifest(folder) == before
    assert not list(folder.rglob("*.part"))
    assert export(past, folder).exports[1].rows


def test_another_request_does_not_mix_with_a_staged_one(past: Flowed, tmp_path: Path) -> None:
    """The message names the staged range and --restart, which throws it away."""
    folder = tmp_path / "data"
    staged = Request(source="kafka", end=flowed.START + flowed.HOUR)
    with patch.object(exporting._Export, "run", side_effect=Killed), pytest.raises(Killed):
        export(past, folder, staged)
    with pytest.raises(FileError, match=r"unfinished export.*to 2025-01-06T01:00:00.*--restart"):
        export(past, folder)
    assert export(past, folder, restart=True).exports[0].end is None


def test_two_exports_at_once_into_one_folder(past: Flowed, tmp_path: Path) -> None:
    """The second is refused, and disturbs nothing."""
    folder = tmp_path / "data"
    with adding(folder, Request(source="csv")), pytest.raises(FileError, match="another command is writing"):
        export(past, folder)
    assert not folder.exists()


def test_a_range_that_the_dataset_has_is_refused(past: Flowed, tmp_path: Path) -> None:
    """Overlaps would hold samples twice: the message says where to go on."""
    folder = tmp_path / "data"
    export(past, folder, Request(source="kafka", end=flowed.START + flowed.HOUR))
    with pytest.raises(FileError, match=r"lies within what the dataset has, up to 2025-01-06T01:00:00\+00:00"):
        export(past, folder, Request(source="kafka", start=flowed.START, end=flowed.START + 2 * flowed.HOUR))


def test_what_retention_has_removed_is_named(kafka: str, tmp_path: Path) -> None:
    """A start before what Kafka holds: topic, partition, offset and time; --allow-missing exports the rest."""
    history = flowed.history(flowed.new_prefix(), kafka, hours=0.2)
    flowed.create(history.settings)
    flowed.publish(history.settings, history.outputs)
    delete_records(history, before=4)
    early = Request(source="kafka", start=flowed.START)
    topic = history.settings.topics.name(Topic.SAMPLES)
    with pytest.raises(BrokerError, match=rf"{topic}/0: Kafka holds it from offset 4 .*--allow-missing"):
        export(history, tmp_path / "data", early)
    assert not (tmp_path / "data").exists()
    assert export(history, tmp_path / "data", early, allow_missing=True).exports[0].rows


def delete_records(history: Flowed, before: int) -> None:
    """What retention does, at once."""

    async def run() -> None:
        client = admin_client(history.settings.kafka)
        await client.start()
        try:
            place = TopicPartition(history.settings.topics.name(Topic.SAMPLES), 0)
            await client.delete_records({place: RecordsToDelete(before_offset=before)})
        finally:
            await client.close()

    asyncio.run(run())


def test_records_that_cannot_be_read_are_counted(kafka: str, tmp_path: Path) -> None:
    """Broken bytes on a topic are left out and counted; everything else is exported."""
    history = flowed.history(flowed.new_prefix(), kafka, hours=0.2)
    flowed.create(history.settings)
    frame = next(output for output in history.of(Topic.FRAMES) if b"signals" in output.value)
    broken = [replace(frame, value=b"{"), replace(history.of(Topic.SAMPLES)[-1], value=b"\xff\xff\xff\xff")]
    flowed.publish(history.settings, [*history.outputs, *broken])
    last = export(history, tmp_path / "data").exports[-1]
    assert last.unreadable == 2
    assert last.rows


def test_a_missing_topic_is_named(kafka: str, tmp_path: Path) -> None:
    """Nothing is written."""
    settings = flowed.settings_of(kafka, flowed.new_prefix())
    with pytest.raises(BrokerError, match=r"there is no topic dataset-.*samples; check topics.prefix"):
        export(flowed.Flowed(settings, []), tmp_path / "data")
    assert not (tmp_path / "data").exists()
