"""Outputs depend on the log alone: not on cuts, not on how sources interleave, not on restarts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import records
from pipeline.advise.intervals import IntervalQueue
from pipeline.errors import StateError
from pipeline.settings import AdviseSettings
from pipeline.stage import LogRecord
from tests.advise.helpers import SLOW, Fault, Story, advice, at, make_stage, rules

SOURCES = {"duri_control": 0, "duri_core": 1, "duri_brain": 2, "duri_evolution": 0}
POOL = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=["http.latency.p95"])
SLOWER = Fault(SLOW, rising=["http.latency.p95"])


def eventful() -> list[LogRecord]:
    """Three sources, two faults, a deploy, a maintenance window, an answer, a recovery."""
    story = Story(tuple(SOURCES), sources=SOURCES).healthy(12).deploy("duri_evolution")
    story.maintenance(5, ["duri_control"])
    story.troubled(6, {"duri_core": SLOWER, "duri_brain": POOL, "duri_evolution": SLOWER})
    first = advice(make_stage().step(story.records))[0]
    story.feedback(first["id"], "applied").healthy(25)
    return story.take()


LOG = eventful()
WHOLE = make_stage().step(LOG)


def test_the_story_tells_something() -> None:
    """The log that the properties run over makes recommendations, an outcome and closed incidents."""
    assert {"app-pool-size", "deploy-rollback"} <= set(rules(advice(WHOLE)))
    assert len({output.topic for output in WHOLE}) == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, len(LOG)), max_size=12))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    """However the log is cut into step() calls, the outputs are the same bytes."""
    stage = make_stage()
    edges = [0, *sorted(cuts), len(LOG)]
    assert [o for a, b in itertools.pairwise(edges) for o in stage.step(LOG[a:b])] == WHOLE


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_interleaving_of_sources_changes_nothing(data: st.DataObject) -> None:
    """Any order that keeps each source's own gives the same bytes, while sources stay within the timeout."""
    story = Story(tuple(SOURCES), sources=SOURCES).healthy(8)
    story.troubled(6, {"duri_core": SLOWER, "duri_brain": POOL}).healthy(4)
    by_source: dict[int, list[LogRecord]] = {0: [], 1: [], 2: []}
    for record in story.records:
        by_source[source_of(record)].append(record)
    expected = make_stage(sources=3).step(story.records)
    assert expected
    stage, outputs = make_stage(AdviseSettings(source_timeout_s=7200), sources=3), []
    while any(by_source.values()):
        ready = [source for source, waiting in by_source.items() if waiting]
        source = data.draw(st.sampled_from(ready))
        count = data.draw(st.integers(1, 8))
        outputs += stage.step(by_source[source][:count])
        by_source[source] = by_source[source][count:]
    assert outputs == expected
    assert stage.statistics()["late_frames_total"] == 0


def source_of(record: LogRecord) -> int:
    """Source partition of a frame or watermark."""
    kind = dict(record.headers)["ce_type"]
    if kind == b"duri.watermark.v1":
        return records.Watermark.model_validate_json(record.value or b"").source_partition
    return records.Frame.model_validate_json(record.value or b"").source.partition


@settings(max_examples=25, deadline=None)
@given(st.integers(0, len(LOG)), st.integers(0, len(LOG)))
def test_restoring_equals_going_on(first: int, second: int) -> None:
    """A snapshot anywhere, twice, restored into new stages: the same bytes as without."""
    edges = [0, *sorted((first, second)), len(LOG)]
    stage, outputs = make_stage(), []
    for a, b in itertools.pairwise(edges):
        fresh = make_stage()
        fresh.restore(stage.snapshot())
        stage = fresh
        outputs += stage.step(LOG[a:b])
    assert outputs == WHOLE


def test_snapshot_is_a_copy() -> None:
    """Going on does not change a snapshot that was taken before."""
    stage = make_stage()
    half = len(LOG) // 2
    stage.step(LOG[:half])
    taken = stage.snapshot()
    before = {name: value if isinstance(value, bytes) else value.copy() for name, value in taken.items()}
    stage.step(LOG[half:])
    for name, value in taken.items():
        np.testing.assert_array_equal(np.asarray(value), np.asarray(before[name]))


@pytest.mark.parametrize("state", [{}, {"state": b""}, {"state": b"\x81\xa7version\x63"}])
def test_foreign_snapshot_is_refused(state: dict[str, bytes]) -> None:
    """A snapshot of another program or version raises StateError."""
    with pytest.raises(StateError):
        make_stage().restore(state)


def test_history_survives_a_changed_catalogue() -> None:
    """Columns are matched by name: signals that a new catalogue asks for begin empty, others go on."""
    story = Story().healthy(40)
    stage = make_stage()
    stage.step(story.take())
    state = dict(stage.snapshot())
    fresh = make_stage(AdviseSettings(history_s=1800))
    fresh.restore(state)  # another length: the pages begin anew, the rest goes on
    assert rules(advice(fresh.step(story.troubled(5, {"duri_core": POOL}).take()))) == ["app-pool-size"]


# --- what cannot be read ------------------------------------------------------------------------------------------

HEADERS = [("ce_type", b"duri.frame.v1")]


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (None, HEADERS),
        (b"", HEADERS),
        (b"{}", HEADERS),
        (b"[1, 2", HEADERS),
        (b"\xff\xfe", HEADERS),
        (b'{"service": 1}', HEADERS),
        (b'{"source_partition": "x", "until": "2026-03-02T00:00:00Z"}', [("ce_type", b"duri.watermark.v1")]),
        (b'{"source_partition": 0, "until": "2026-03-02T00:00:00"}', [("ce_type", b"duri.watermark.v1")]),
        (b'{"at": "yesterday"}', [("ce_type", b"duri.tick.v1")]),
        (b'{"id": "x"}', [("ce_type", b"duri.feedback.v1")]),
        (b"{}", []),
    ],
)
def test_malformed_records_are_counted_and_left_out(value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    """Bad data never raises and never stops what comes after it."""
    story = Story().healthy(40)
    story.raw(value, headers)
    stage = make_stage()
    assert rules(advice(stage.step(story.troubled(5, {"duri_core": POOL}).take()))) == ["app-pool-size"]
    assert stage.statistics()["advise_malformed_records_total"] == 1


def test_other_events_are_ignored() -> None:
    """A type that is not one of the stage's is counted, no more."""
    stage = make_stage()
    stage.step([LogRecord("duri.frames", 0, 0, 0, None, b"{}", [("ce_type", b"com.example.other")])])
    assert stage.statistics()["ignored_records_total"] == 1


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.sampled_from([b"duri.frame.v1", b"duri.change.v1", b"duri.maintenance.v1"]))
def test_any_bytes_are_survived(value: bytes, kind: bytes) -> None:
    """Whatever stands in a record, step() returns."""
    assert make_stage().step([LogRecord("duri.frames", 0, 0, 0, None, value, [("ce_type", kind)])]) == []


# --- sources ------------------------------------------------------------------------------------------------------


def test_late_frames_are_counted() -> None:
    """A frame of an interval that was taken changes nothing."""
    story = Story().healthy(10)
    story.minute = 3
    story.healthy(1)
    stage = make_stage()
    stage.step(story.take())
    assert stage.statistics()["late_frames_total"] == 1


def test_interval_waits_for_the_slower_source() -> None:
    """Nothing is decided before every live source has passed the interval."""
    sources = {"duri_core": 0, "duri_brain": 1}
    both = Story(tuple(sources), sources=sources).healthy(12).troubled(5, {"duri_core": POOL})
    held = [record for record in both.records if source_of(record) == 0]
    stage = make_stage(AdviseSettings(source_timeout_s=3600), sources=2)
    assert stage.step(held) == []
    assert stage.statistics()["pending_frames"] == 17
    rest = [record for record in both.records if source_of(record) == 1]
    assert rules(advice(stage.step(rest))) == ["app-pool-size"]


def test_silent_source_is_waited_for_no_longer() -> None:
    """After the timeout in event time the others go on; it is counted as silent."""
    story = Story(("duri_core", "duri_brain"), sources={"duri_core": 0, "duri_brain": 1}).healthy(3)
    stage = make_stage()
    stage.step(story.take())
    alone = Story(minute=3).healthy(20)
    stage.step(alone.take())
    assert stage.statistics()["pending_frames"] == 0
    assert stage.statistics()["silent_sources"] == 1


def test_replay_is_paced_by_arrival() -> None:
    """Hours of event time within seconds of arrival: a source that comes a day later is still waited for."""
    sources = {"duri_core": 0, "duri_brain": 1}
    story = Story(tuple(sources), sources=sources, arrival=records.to_ms(at(0))).healthy(1440)
    first = [record for record in story.records if source_of(record) == 0]
    second = [record for record in story.records if source_of(record) == 1]
    stage = make_stage()
    stage.step([second[0], *first, *second[1:]])
    assert stage.statistics()["late_frames_total"] == 0
    assert stage.statistics()["pending_frames"] == 0


def test_source_that_catches_up_is_waited_for() -> None:
    """A source hours behind that keeps speaking is not given up."""
    story = Story(("duri_core", "duri_brain"), sources={"duri_core": 0, "duri_brain": 1}).healthy(100)
    ahead = [record for record in story.records if source_of(record) == 0]
    behind = [record for record in story.records if source_of(record) == 1]
    stage = make_stage(sources=2)
    stage.step([*ahead[:5], *behind[:3]])
    for step in range(1, 20):
        stage.step(ahead[step * 10 : step * 10 + 10])
        stage.step(behind[step * 3 : step * 3 + 3])
    assert stage.statistics()["late_frames_total"] == 0
    assert stage.statistics()["silent_sources"] == 0


def test_tick_moves_time() -> None:
    """A tick stands for every source's watermark."""
    story = Story().healthy(40).troubled(5, {"duri_core": POOL})
    stage = make_stage()
    stage.step(story.take())
    assert stage.statistics()["incidents_open"] == 1
    story.minute += 60
    story.put(records.Tick(at=story._at(story.minute)))
    stage.step(story.take())
    assert stage.statistics()["incidents_open"] == 0


def test_memory_is_bounded_while_waiting() -> None:
    """Beyond the limit the oldest interval is taken without the source that is waited for."""
    story = Story(("duri_core",), sources={"duri_core": 0}).healthy(50)
    stage = make_stage(AdviseSettings(max_pending_frames=10, source_timeout_s=1e6), sources=2)
    stage.step(story.take())
    assert stage.statistics()["pending_frames"] == 10
    assert stage.statistics()["forced_intervals_total"] == 40


def test_long_silence_is_skipped_quickly() -> None:
    """A year without data is no year of empty intervals."""
    story = Story().healthy(2)
    story.minute += 525_600
    story.healthy(2)
    stage = make_stage()
    stage.step(story.take())
    assert stage.statistics()["intervals_total"] == 4


def test_open_state_is_bounded() -> None:
    """Incidents and recommendations beyond their limits are dropped and counted."""
    names = tuple(f"service-{number}" for number in range(6))
    story = Story(names).healthy(8).troubled(4, dict.fromkeys(names, POOL))
    stage = make_stage(AdviseSettings(max_open_incidents=4, max_open_recommendations=2, max_services=3))
    stage.step(story.take())
    statistics = stage.statistics()
    assert (statistics["incidents_open"], statistics["recommendations_open"], statistics["advise_services"]) == (
        4,
        2,
        3,
    )
    assert statistics["incidents_dropped_total"] > 0
    assert statistics["recommendations_dropped_total"] > 0


def test_queue_before_anything() -> None:
    """An empty queue has nothing to give."""
    queue = IntervalQueue(60_000, 600_000, 100)
    assert list(queue.take(lambda: True)) == []
    assert (queue.now, queue.held, queue.silent) == (0, 0, 0)
