"""The real Prometheus server: what it holds is read, bridged and backfilled, each sample once."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.errors import SettingsError, SourceError, SourceUnavailableError
from pipeline.runtime.clients import connection
from pipeline.sources.backfill import Span, backfill, remaining
from pipeline.sources.positions import Position, PositionedPublisher
from pipeline.sources.prometheus import PrometheusReader, Server, TooMuchError
from pipeline.sources.recording import Recording
from tests.bridging import assert_published_once, start_bridge, wait_for
from tests.metrics_topic import read_rows, settings_with_topics
from tests.prometheus_server import exporter, prometheus, require_prometheus, write_history

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.settings import Settings
    from tests.prometheus_server import PrometheusServer

HOUR_MS = 3_600_000
END = 1_767_225_600_000
"""2026-01-01T00:00:00Z in ms."""


@pytest.fixture(autouse=True)
def _prometheus_is_there() -> None:
    require_prometheus()


def by_job(labels: Mapping[str, str]) -> str:
    return labels["job"]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A server with six hours of two services up to END, a sample each 15 s."""
    require_prometheus()
    folder = tmp_path_factory.mktemp("prometheus")
    lines = ["# TYPE queue_depth gauge"]
    lines += [f'queue_depth{{job="{job}"}} {n % 7} {t}' for job in ("shop", "till") for n, t in enumerate(times())]
    lines.append("# TYPE http_requests counter")
    lines += [f'http_requests_total{{job="shop",status="200"}} {3 * n} {t}' for n, t in enumerate(times())]
    lines.append("# TYPE sometimes gauge")
    lines += [f'sometimes{{job="shop"}} {"NaN" if n % 2 else n} {t}' for n, t in enumerate(times())]
    write_history("\n".join([*lines, "# EOF\n"]), folder / "data")
    with prometheus(folder) as server:
        yield server


def times() -> list[float]:
    """Of each sample, in seconds."""
    return [(END - 6 * HOUR_MS + at) / 1000 for at in range(15_000, 6 * HOUR_MS + 1, 15_000)]


STORED = 6 * 240
"""Samples of one of these series."""


# --- reading --------------------------------------------------------------------------------------------------


def test_raw_samples_with_their_own_times(history):
    """Every sample of the time asked for, none resampled; the beginning is excluded and the end included."""
    reader = PrometheusReader(Server(history.url), ["queue_depth"], by_job)
    recording = reader.read(END - 60_000, END)
    assert sorted(set(recording.ts.tolist())) == [END - 45_000, END - 30_000, END - 15_000, END]
    assert {(one.name, one.service, one.kind) for one in recording.series} == {
        ("queue_depth", "shop", "gauge"),
        ("queue_depth", "till", "gauge"),
    }
    assert recording.ts.tolist() == sorted(recording.ts.tolist())


def test_everything_where_nothing_is_selected(history):
    """Without a selector all series are read; what is no finite number is left out and counted."""
    recording = PrometheusReader(Server(history.url), [], by_job).read(END - HOUR_MS, END)
    counted = Counter(recording.series[index].name for index in recording.index)
    assert counted == {"queue_depth": 480, "http_requests_total": 240, "sometimes": 120}
    assert recording.missing == 120


def test_selectors_that_overlap_read_a_series_once(history):
    """A series that two selectors match is there once."""
    reader = PrometheusReader(Server(history.url), ['{job="shop"}', "queue_depth"], by_job)
    recording = reader.read(END - 15_000, END)
    assert Counter(one.name for one in recording.series) == {"queue_depth": 2, "http_requests_total": 1}


def test_kinds_are_what_the_server_knows(tmp_path):
    """The type of a metric that the server scrapes decides, also against its name."""
    page = (
        "# TYPE jobs_done counter\njobs_done 3\n# TYPE misnamed_total gauge\nmisnamed_total 4\n"
        '# TYPE took histogram\ntook_bucket{le="+Inf"} 1\ntook_sum 2\ntook_count 1\n'
        '# TYPE rpc summary\nrpc{quantile="0.5"} 2\nrpc_sum 2\nrpc_count 1\n'
    )
    with exporter(lambda: page) as target, prometheus(tmp_path, targets=[target]) as server:
        reader = PrometheusReader(Server(server.url), ['{__name__=~"jobs.*|mis.*|took.*|rpc.*"}'], by_job)
        ends = time.monotonic() + 20
        while not (found := reader.read((now := reader.now_ms()) - 10_000, now).series):
            assert time.monotonic() < ends
            time.sleep(0.3)
    assert {one.name: one.kind.value for one in found} == {
        "jobs_done": "counter", "misnamed_total": "gauge", "took_bucket": "bucket", "took_sum": "counter",
        "took_count": "counter", "rpc": "gauge", "rpc_sum": "counter", "rpc_count": "counter",
    }  # fmt: skip


def test_refusals_name_place_and_remedy(history):
    """A selector that is none is the user's to mend; nobody at the address may be there later."""
    with pytest.raises(SourceError, match="--match") as refused:
        PrometheusReader(Server(history.url), ["{{"], by_job).read(0, 1000)
    assert not refused.value.retryable
    with pytest.raises(SourceUnavailableError, match=r"127\.0\.0\.1:9 ") as nobody:
        PrometheusReader(Server("http://127.0.0.1:9"), [], by_job).now_ms()
    assert nobody.value.retryable
    with exporter(lambda: "no JSON") as other, pytest.raises(SourceError, match="does --url name one"):
        PrometheusReader(Server(f"http://{other}"), [], by_job).now_ms()


# --- backfill -------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(kafka, topic_prefix) -> Settings:
    return settings_with_topics(kafka, topic_prefix)


def publisher(settings: Settings, name: str = "test") -> PositionedPublisher:
    return PositionedPublisher(connection(settings.kafka), settings, name)


class StoppedError(Exception):
    """The user pressed Ctrl-C."""


async def fill(settings: Settings, reader: PrometheusReader, wanted: Span, pieces: int | None = None) -> int:
    """Backfill, but stop after so many pieces; the samples published."""
    done = itertools.count(1)

    def report(_reached: int, _samples: int) -> None:
        if next(done) == pieces:
            raise StoppedError

    async with publisher(settings) as to:
        try:
            return (await backfill(reader, to, remaining(to, wanted), 4, report)).samples
        except StoppedError:
            return -1


def test_backfill_that_is_interrupted_goes_on(settings, history):
    """Stopped twice and started again: every sample once, in order of time within each partition."""
    reader = PrometheusReader(Server(history.url), [], by_job)
    wanted = Span(END - 6 * HOUR_MS, END)

    async def story() -> None:
        assert await fill(settings, reader, wanted, pieces=3) == -1
        assert await fill(settings, reader, wanted, pieces=4) == -1
        assert await fill(settings, reader, wanted) > 0
        assert await fill(settings, reader, wanted) == 0
        rows = await read_rows(settings)
        assert len(rows) == len(set(rows)) == 3 * STORED + STORED // 2
        assert Counter(row.name for row in rows) == {
            "queue_depth": 2 * STORED, "http_requests_total": STORED, "sometimes": STORED // 2,
        }  # fmt: skip
        for service in ("shop", "till"):
            of_one = [row.ts for row in rows if json.loads(row.labels)["service"] == service]
            assert of_one == sorted(of_one)

    asyncio.run(story())


def test_backfill_of_what_is_past_already_is_refused(settings):
    """Samples older than what was published would be dropped as late: said before anything is read."""

    async def story() -> None:
        async with publisher(settings) as to:
            await to.publish((), Position(END))
            assert remaining(to, Span(0, END)) == Span(END, END)
            with pytest.raises(SettingsError, match="dropped as late"):
                remaining(to, Span(0, END - 1))

    asyncio.run(story())


def test_a_piece_too_large_for_the_server_is_cut(settings):
    """Where the server will not load so many samples, shorter times are asked for until it does."""

    class Small:
        def __init__(self) -> None:
            self.asked: list[tuple[int, int]] = []

        def read(self, after_ms: int, until_ms: int) -> Recording:
            if until_ms - after_ms > 5000:
                raise TooMuchError("too many")
            self.asked.append((after_ms, until_ms))
            return Recording([], *(np.empty(0) for _ in range(3)))

    async def story() -> None:
        reader = Small()
        async with publisher(settings) as to:
            await backfill(reader, to, Span(0, 20_000), 4, lambda *_: None)
        assert reader.asked[0][0] == 0
        assert reader.asked[-1][1] == 20_000
        assert all(one[1] == other[0] for one, other in itertools.pairwise(reader.asked))

    asyncio.run(story())


# --- bridge ---------------------------------------------------------------------------------------------------


def test_bridge_neither_loses_nor_doubles(settings, tmp_path):
    """Killed with SIGKILL again and again, Prometheus stopped in between: every sample that it holds, once."""
    page = itertools.count(1)
    (tmp_path / "prometheus").mkdir()
    with (
        exporter(lambda: f"requests_total {next(page)}\nlevel 0.5\n") as target,
        prometheus(tmp_path / "prometheus", targets=[target]) as server,
    ):
        for number in range(3):
            process = start_bridge(settings, server.url, tmp_path)
            wait_for(settings, round(time.time() * 1000))
            time.sleep(0.17 * number)
            process.kill()
            process.wait()
        process = start_bridge(settings, server.url, tmp_path)
        wait_for(settings, round(time.time() * 1000))
        server.stop()
        time.sleep(3)
        server.start()
        end_ms = round(time.time() * 1000) + 3000
        wait_for(settings, end_ms)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        assert "the bridge waits" in told
        assert_published_once(settings, server, end_ms, at_least=30)


@pytest.mark.parametrize("since", [("--since", "1h"), ()])
def test_bridge_says_what_is_wrong_at_once(settings, history, tmp_path, since):
    """What will not mend by itself ends the command with a clear message, not with waiting."""
    config = tmp_path / "duri.yaml"
    config.write_text(f"topics: {{prefix: '{settings.topics.prefix}'}}\n")
    done = subprocess.run(
        [
            sys.executable, "-m", "pipeline", "bridge", "prometheus", "--url", history.url, "--match", "{{",
            "--config", str(config), "--bootstrap", settings.kafka.bootstrap,
            "--step", "1s", *since,
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "refuses '{{':" in done.stderr.splitlines()[-1]
    assert "--match" in done.stderr.splitlines()[-1]
