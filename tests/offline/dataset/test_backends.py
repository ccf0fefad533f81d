"""Exports that several workers share: the same dataset as one process makes, to the byte."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pipeline.errors import FileError, SettingsError
from pipeline.offline.backends import Backend, Workers
from pipeline.offline.dataset import kafka as exporting
from pipeline.offline.dataset.staging import STAGING, Request
from pipeline.offline.dataset.writer import DatasetWriter
from tests.offline.dataset import flowed
from tests.offline.dataset.flowed import HOUR, START, export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.offline.dataset.flowed import Flowed

ENDED = Request(source="kafka", end=START + 2 * HOUR)


def spread(past: Flowed, folder: Path, workers: Workers, request: Request = ENDED) -> None:
    asyncio.run(exporting.export(past.settings, folder, request, exporting.Options(workers=workers)))


def content(folder: Path) -> dict[str, bytes]:
    """Every file of the dataset by its place in it, the manifest too.

    Not what is staged: a worker that outlives its command may still write there, which the next command clears away.
    """
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if STAGING not in path.parts}


def test_workers_of_any_backend_write_the_same_bytes(past: Flowed, tmp_path: Path, dask: str) -> None:
    """Two processes, and a cluster of two worker processes: manifest and files are those of a serial export.

    So are those of the increment after it.
    """
    export(past, tmp_path / "serial", ENDED)
    for backend, address in ((Backend.PROCESSES, None), (Backend.DASK, dask)):
        spread(past, tmp_path / backend, Workers(backend, 2, address))
        assert content(tmp_path / backend) == content(tmp_path / "serial")
    export(past, tmp_path / "serial")
    spread(past, tmp_path / "dask", Workers(Backend.DASK, 2, dask), flowed.ALL)
    assert content(tmp_path / "dask") == content(tmp_path / "serial")
    assert len(list((tmp_path / "serial" / "samples").rglob("*.parquet"))) > 2


def test_a_spread_export_goes_on_where_it_was_killed(
    past: Flowed, tmp_path: Path, dask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at its third checkpoint, then repeated by one process alone: the dataset of an export that was not."""
    checkpoint, taken = DatasetWriter.checkpoint, []

    def dying(self: DatasetWriter, **how: object) -> None:
        checkpoint(self, **how)  # type: ignore[arg-type]
        taken.append(how)
        if len(taken) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(DatasetWriter, "checkpoint", dying)
        with pytest.raises(KeyboardInterrupt):
            spread(past, tmp_path / "data", Workers(Backend.DASK, 2, dask))
    assert not (tmp_path / "data" / "manifest.json").exists()
    export(past, tmp_path / "data", ENDED)
    export(past, tmp_path / "whole", ENDED)
    assert content(tmp_path / "data") == content(tmp_path / "whole")


def test_a_cluster_that_does_not_answer_leaves_nothing(past: Flowed, tmp_path: Path) -> None:
    """It says what to name, no dataset is there, and the same command goes on without a cluster."""
    with pytest.raises(SettingsError, match="name its scheduler with --address"):
        spread(past, tmp_path / "data", Workers(Backend.DASK, 2))
    assert not (tmp_path / "data" / "manifest.json").exists()
    export(past, tmp_path / "data", ENDED)
    assert (tmp_path / "data" / "manifest.json").exists()


def test_a_worker_that_outlives_its_command_stops(past: Flowed, tmp_path: Path) -> None:
    """It reads and writes nothing more once the export has ended, and says why to whoever still listens."""
    orders: list[exporting.Order] = []

    def kept(order: exporting.Order) -> exporting.Piece:
        orders.append(order)
        return exporting.read_pieces(order)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(exporting.joblib, "delayed", lambda _: lambda order: (kept, (order,), {}))
        spread(past, tmp_path / "data", Workers(Backend.PROCESSES, 1))
    whole = content(tmp_path / "data")
    with pytest.raises(FileError, match="the export that a worker read this for has ended"):
        exporting.read_pieces(orders[0])
    assert content(tmp_path / "data") == whole
    assert not (tmp_path / "data" / STAGING).exists()
