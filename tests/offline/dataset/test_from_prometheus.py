"""A real Prometheus server's history as a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from pipeline.errors import FileError, SourceUnavailableError
from pipeline.offline import Dataset, Selection
from pipeline.offline.dataset.check import problems
from pipeline.offline.dataset.prometheus import Reading, import_server
from pipeline.offline.dataset.staging import Request
from pipeline.sources.prometheus import PrometheusReader, Server
from tests.installation import duri
from tests.prometheus_server import prometheus, require_prometheus, write_history

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipeline.sources.recording import Recording
    from tests.prometheus_server import PrometheusServer

HOUR_MS = 3_600_000
END = 1_767_225_600_000
"""2026-01-01T00:00:00Z in ms: within the history that the server keeps, and the last day of its data."""
STEP_MS = 15_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """Two services, six hours up to END, a sample each 15 s."""
    require_prometheus()
    folder = tmp_path_factory.mktemp("prometheus")
    times = range(END - 6 * HOUR_MS, END, STEP_MS)
    lines = ["# TYPE queue_depth gauge"]
    lines += [f'queue_depth{{job="{job}"}} {n % 7} {t / 1000}' for job in ("shop", "till") for n, t in enumerate(times)]
    write_history("\n".join([*lines, "# EOF\n"]), folder / "data")
    with prometheus(folder) as running:
        yield running


def by_job(labels: Mapping[str, str]) -> str:
    return labels["job"]


def request(**changes: object) -> Request:
    given = {"start": END - 4 * HOUR_MS, "end": END - HOUR_MS, "origins": ("server",), **changes}
    return Request(source="prometheus", **given)  # type: ignore[arg-type]


def test_the_command_copies_every_sample_of_the_time(server: PrometheusServer, tmp_path: Path) -> None:
    """The beginning is included, the end is not; later the rest is appended, each sample once, and all verifies."""
    out = tmp_path / "data"
    common = ("--url", server.url, "--match", "queue_depth", "--out", out)
    done = duri("dataset", "from-prometheus", *common, "--from", "2025-12-31T20:00:00Z", "--to", "2025-12-31T23:00:00Z")
    assert done.returncode == 0, done.stderr
    samples = Dataset(out).read("samples", Selection(["shop"]))
    assert len(samples) == 3 * 240
    assert samples["timestamp"].min().isoformat() == "2025-12-31T20:00:00+00:00"
    done = duri("dataset", "from-prometheus", *common, "--to", "2026-01-01T00:00:00Z")
    assert done.returncode == 0, done.stderr
    assert len(Dataset(out).read("samples").drop_duplicates(["service", "timestamp"])) == 2 * 4 * 240
    assert list(problems(out, Dataset(out).manifest)) == []
    done = duri("dataset", "from-prometheus", *common, "--from", "2025-12-31T22:00:00Z")
    assert done.returncode == 2
    assert "has these samples up to 2026-01-01" in done.stderr


def test_a_server_that_goes_away_costs_nothing(
    server: PrometheusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is in the dataset; repeated, it goes on after what was staged, and each sample is there once."""
    monkeypatch.setattr("pipeline.offline.dataset.sample_rows._MOST_ROWS", 10)
    reader = PrometheusReader(Server(server.url), ["queue_depth"], by_job)

    class Recorder:
        def __init__(self, most: int) -> None:
            self.most, self.read_from = most, []

        def now_ms(self) -> int:
            return reader.now_ms()

        def read(self, after_ms: int, until_ms: int) -> Recording:
            if len(self.read_from) == self.most:
                raise SourceUnavailableError("gone")
            self.read_from.append(after_ms)
            return reader.read(after_ms, until_ms)

    with pytest.raises(SourceUnavailableError):
        import_server(tmp_path / "a", Recorder(3), request(), Reading())
    with pytest.raises(FileError, match="is no dataset"):
        Dataset(tmp_path / "a")
    again = Recorder(1000)
    import_server(tmp_path / "a", again, request(), Reading())
    assert again.read_from[0] == END - 4 * HOUR_MS + 7 * 60_000 - 1  # after pieces of one, two and four minutes
    import_server(tmp_path / "b", reader, request(), Reading())
    order = ["service", "timestamp"]
    a, b = (Dataset(tmp_path / name).read("samples").sort_values(order, ignore_index=True) for name in "ab")
    assert a.astype(str).equals(b.astype(str))


def test_without_a_beginning_there_must_be_one(server: PrometheusServer, tmp_path: Path) -> None:
    """A new dataset says that --from is wanted, and nothing is left behind."""
    reader = PrometheusReader(Server(server.url), ["queue_depth"], by_job)
    with pytest.raises(FileError, match="say --from when"):
        import_server(tmp_path / "a", reader, request(start=None), Reading())
    assert not (tmp_path / "a").exists()


def test_polars_reads_it_as_it_is(server: PrometheusServer, tmp_path: Path) -> None:
    """A lazy scan of the folder, its partitions as columns, gives the samples with their types."""
    reader = PrometheusReader(Server(server.url), ["queue_depth"], by_job)
    import_server(tmp_path / "data", reader, request(), Reading())
    found = (
        pl.scan_parquet(tmp_path / "data" / "samples", hive_partitioning=True)
        .filter(pl.col("service").cast(pl.String) == "till")
        .select("timestamp", "value", "day")
        .collect()
    )
    assert len(found) == 3 * 240
    assert found.schema["timestamp"] == pl.Datetime("ms", "UTC")
    assert found["value"].sum() == Dataset(tmp_path / "data").read("samples", Selection(["till"]))["value"].sum()
