from __future__ import annotations

import asyncio
import time

import msgspec
import numpy as np
import pytest
import typer

from pipeline.cli.replay import parse_speed
from pipeline.errors import FileError
from pipeline.sources.lanes import lane_of
from pipeline.sources.recording import Naming, Recording, merge, series_of
from pipeline.sources.replay import play, read


class Sink:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, dict, float]] = []
        self.flushed = False

    async def publish(self, lane: int, message: bytes) -> None:
        self.messages.append((lane, msgspec.json.decode(message), time.monotonic()))

    async def flush(self) -> None:
        self.flushed = True


def recording(service: str, ts: list[int], value: list[float]) -> Recording:
    return Recording(
        [series_of("load", service, {})],
        np.zeros(len(ts), dtype=np.int64),
        np.array(ts, dtype=np.int64),
        np.array(value),
    )


def published(sink: Sink) -> list[tuple[int, int, str, float]]:
    """(lane, ts, service, value) in the order of publication."""
    return [
        (lane, ts, message["series"][place]["labels"]["service"], value)
        for lane, message, _ in sink.messages
        for ts, place, value in zip(message["ts"], message["index"], message["value"], strict=True)
    ]


def test_merge_is_by_time_and_stable():
    """Rows of equal time keep the order of their files; all series survive."""
    together = merge([recording("a", [1000, 3000], [1, 3]), recording("b", [1000, 2000], [10, 20])])
    assert together.ts.tolist() == [1000, 1000, 2000, 3000]
    assert [together.series[one].service for one in together.index] == ["a", "b", "b", "a"]


def test_merge_of_nothing_is_empty():
    """No recordings, no rows."""
    assert len(merge([])) == 0


@pytest.mark.parametrize("lanes", [1, 4])
def test_every_row_is_published_once_and_each_lane_in_order_of_time(lanes):
    """All services of a lane are interleaved: none of them runs ahead of the others."""
    rng = np.random.default_rng(1)
    parts = [
        recording(name, np.sort(rng.integers(0, 10**6, 20_000)).tolist(), rng.random(20_000).tolist())
        for name in ("a", "b", "c", "d", "e")
    ]
    sink, seen = Sink(), []
    asyncio.run(play(merge(parts), sink, lanes=lanes, report=seen.append))
    rows = published(sink)
    for part in parts:
        service = part.series[0].service
        mine = [row for row in rows if row[2] == service]
        assert [row[1] for row in mine] == part.ts.tolist()
        assert [row[3] for row in mine] == part.value.tolist()
        assert {row[0] for row in mine} == {lane_of(service, lanes)}
    for lane in range(lanes):
        times = [row[1] for row in rows if row[0] == lane]
        assert times == sorted(times)
    assert sink.flushed
    assert seen[-1] == 100_000


def test_speed_keeps_the_pace():
    """Four seconds of samples at ten times real time take four tenths of a second, and none comes early."""
    sink = Sink()
    ts = [1_000_000 + 1000 * second for second in range(5)]
    began = time.monotonic()
    seconds = asyncio.run(play(recording("a", ts, [0.0] * 5), sink, speed=10.0))
    assert 0.39 < seconds < 2.0
    for _, message, moment in sink.messages:
        for one in message["ts"]:
            assert moment - began >= (one - ts[0]) / 10_000 - 0.001


def test_files_are_read_by_their_kind(tmp_path):
    """CSV by its suffix; other suffixes are refused with the choices."""
    (tmp_path / "a_1.csv").write_text("timestamp,value\n5,1\n")
    (tmp_path / "b_1.CSV").write_text("timestamp,value\n4,2\n")
    together = read([tmp_path / "a_1.csv", tmp_path / "b_1.CSV"], Naming())
    assert together.value.tolist() == [2.0, 1.0]
    with pytest.raises(FileError, match=r"unknown kind of file '.xls'; give one of .csv, .parquet"):
        read([tmp_path / "c.xls"], Naming())


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("1", 1.0), ("0.5", 0.5), ("60", 60.0)])
def test_speeds(text, speed):
    """max, or a factor."""
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf", ""])
def test_wrong_speeds(text):
    """Say what was expected."""
    with pytest.raises(typer.BadParameter, match="give max or a number above 0"):
        parse_speed(text)
