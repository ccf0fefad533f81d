"""One thing in the spellings of several producers: the same signal."""

from __future__ import annotations

import math

import pytest

from pipeline.configfile import shipped_config
from pipeline.series import Kind, Series, kind_of_name, unit_of_name
from pipeline.signals.aliases import Aliases, Spelling
from pipeline.signals.definitions import load_definitions
from pipeline.stage import Topic
from tests.builders import START, samples
from tests.detect.drive import detect_stage, records
from tests.signals.spelling import Same, Sent, by, counter, gauge
from tests.signals.spellings import ALL

USED = {"db.client.connection.state": "used"}


def series_of(sent: Sent, service: str) -> Series:
    """As ingest makes it of a format that says neither kind nor unit."""
    return Series(
        name=sent.name,
        labels={"service": service, **sent.labels},
        kind=kind_of_name(sent.name),
        unit=unit_of_name(sent.name),
    )


def read(services: dict[str, list[Sent]]) -> dict[str, dict[str, float]]:
    """Signals and settings by service in the last of three frames, where all this is sent every 15 s."""
    stage = detect_stage()
    log = []
    for at in range(16):
        ms = START + at * 15_000
        rows = [
            (series_of(one, service), ms, 5.0 + one.number * at * 15 if one.grows else one.number)
            for service, sent in services.items()
            for one in sent
        ]
        log.append(samples(at, rows))
    frames = records(stage.step(log), Topic.FRAMES)
    return {
        frame["service"]: {name: value["value"] for name, value in frame["signals"].items()} | frame["settings"]
        for frame in frames
    }


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    """A service for each spelling, all through one detect stage."""
    services = {f"{place}": same.known for place, same in enumerate(ALL)}
    for place, same in enumerate(ALL):
        services |= {f"{place}.{other}": sent for other, sent in enumerate(same.others)}
    return read(services)


@pytest.mark.parametrize(("place", "same"), list(enumerate(ALL)), ids=[same.feeds[0] for same in ALL])
def test_every_spelling_feeds_the_same_signal(found: dict[str, dict[str, float]], place: int, same: Same) -> None:
    """What is known of a service does not depend on who measured it."""
    for feed in same.feeds:
        expected = found[f"{place}"][feed]
        assert expected > 0
        values = {
            (other, sent[-1].name): found[f"{place}.{other}"].get(feed, math.nan)
            for other, sent in enumerate(same.others)
        }
        assert values == pytest.approx(dict.fromkeys(values, expected)), feed


def test_every_spelling_is_tried() -> None:
    """No alias of the shipped table is left out above."""
    table = load_definitions(shipped_config()).aliases
    aliases = Aliases(table)
    tried = {
        (reading.series.name, reading.rank)
        for same in ALL
        for sent in same.others
        for one in sent
        for reading in aliases.readings(series_of(one, "a"))
    }
    # Of a histogram's parts one is enough: they are one entry.
    parts = ("", "_bucket", "_count", "_sum")
    left = [
        (name, spelling.name or list(spelling.names))
        for name, spellings in table.items()
        for rank, spelling in enumerate(spellings, 1)
        if not any((name + part, rank) in tried for part in parts)
    ]
    assert left == []


def test_two_spellings_at_once_count_once() -> None:
    """An SDK that sends old and new names side by side does not double its requests; the better known one counts."""
    requests = by("status", "http_requests_total", {"200": 97.0, "503": 3.0})
    both = read({"a": [*requests, counter("http.server.request.duration_count", 55.0)]})
    assert both["a"]["http.rps"] == pytest.approx(100.0)


def test_a_pool_that_tells_its_most_has_no_overflow() -> None:
    """SQLAlchemy's size and overflow are two settings; who tells one limit has the whole of it as size."""
    known = read({"a": [gauge("db.client.connection.max", 10.0), gauge("db.client.connection.count", 9.0, USED)]})["a"]
    assert (known["app.pool_size"], known["app.max_overflow"]) == (10.0, 0.0)
    assert known["app.pool.utilisation"] == pytest.approx(0.9)


def test_units_that_the_producer_says_win() -> None:
    """A unit in the message counts more than the one in the table."""
    aliases = Aliases({"x_seconds": [Spelling(name="x.time", unit="ms")]})
    sent = {
        unit: Series(name="x.time", labels={"service": "a"}, kind=Kind.GAUGE, unit=unit)
        for unit in ("", "us", "s", "{thing}")
    }
    scales = {unit: [r.scale for r in aliases.readings(one)][1] for unit, one in sent.items()}
    assert scales == {"": 1e-3, "us": 1e-6, "s": 1.0, "{thing}": 1e-3}


def test_counts_of_a_histogram_have_no_unit() -> None:
    """Milliseconds convert a histogram's bounds and sum, never its counts."""
    aliases = Aliases({"x_seconds": [Spelling(name="x.time", unit="ms")]})
    scales = {}
    for part in ("bucket", "count", "sum"):
        one = Series(name=f"x.time_{part}", labels={"service": "a"}, kind=Kind.COUNTER, unit="ms")
        scales[part] = [reading.scale for reading in aliases.readings(one)][1]
    assert scales == {"bucket": 1e-3, "count": 1.0, "sum": 1e-3}


def test_an_alias_that_comes_later_is_known_after_a_restart() -> None:
    """A series that was read as a gauge before its alias was written is a counter once its state is restored."""
    before = detect_stage()
    before.step([samples(0, [(series_of(counter("redis_evicted_keys", 7.0), "a"), START, 5.0)])])
    before._registry.store.read_as(0, Kind.GAUGE)
    after = detect_stage()
    after.restore(dict(before.snapshot()))
    assert after._registry.store.rows[0]["kind"] == 1
