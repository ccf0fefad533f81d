from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.detect.stage import DetectStage
from pipeline.errors import StateError
from pipeline.records import Anomaly, Frame, SourceIdle, Watermark, cloudevent_headers, to_ms
from pipeline.stage import LogRecord, Topic
from tests.builders import SOURCE, START, Row, cut, moved, samples, series
from tests.detect.drive import FRAME_MS, Service, configuration, detect_stage, log, records, written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.detect.configuration import DetectConfiguration

MINUTE = 60.0


def story() -> list[LogRecord]:
    """Forty minutes of two services: a slow spell, a counter reset, a silence, late and broken samples."""
    core, brain = Service("duri_core"), Service("duri_brain")
    scrapes: list[list[Row]] = []
    for p95, memory in [(0.15, 0.5)] * 12 + [(0.9, 0.5)] * 8 + [(0.15, 0.97)] * 4 + [(0.15, 0.5)] * 16:
        for a, b in zip(core.rows(MINUTE, p95=p95), brain.rows(MINUTE, memory=memory), strict=True):
            scrapes += [a, b]
    scrapes = scrapes[:100] + [rows for at, rows in enumerate(scrapes[100:]) if at % 2 or at > 60]
    scrapes.insert(50, [(series("queue_depth"), START, 1.0), (series("queue_depth"), START + 10**6, math.nan)])
    whole = log(scrapes)
    rubbish = LogRecord("duri.samples", 0, 0, START, None, b"rubbish", whole[0].headers)
    mixed = [*whole[:30], rubbish, *whole[30:]]
    return [moved(record, offset) for offset, record in enumerate(mixed)]


@cache
def told() -> tuple[list[LogRecord], list[tuple[object, ...]]]:
    """The story, and what one uninterrupted stage writes of it."""
    records_of = story()
    return records_of, written(detect_stage().step(records_of))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=12))
def test_batch_boundaries_change_nothing(places: list[int]) -> None:
    """However the log is cut into polls, the outputs are the same bytes."""
    history, whole = told()
    stage = detect_stage()
    pieces = [output for part in cut(history, places) for output in stage.step(part)]
    assert written(pieces) == whole


def test_one_by_one_equals_all_at_once() -> None:
    """A poll a record gives the same bytes as one poll for all."""
    history, whole = told()
    stage = detect_stage()
    assert written(output for record in history for output in stage.step([record])) == whole


def test_replay_gives_identical_bytes() -> None:
    """Two stages over the same log write the same bytes; the story is not an empty one."""
    history, whole = told()
    assert written(detect_stage().step(history)) == whole
    assert sum(entry[0] is Topic.ANOMALIES for entry in whole) >= 4


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_restore_equals_uninterrupted(first: int, second: int) -> None:
    """Snapshots at any two places, each restored into a fresh stage, change no byte."""
    history, whole = told()
    outputs = []
    stage = detect_stage()
    for part in cut(history, [first, second]):
        outputs += stage.step(part)
        state = stage.snapshot()
        stage = detect_stage()
        stage.restore(state)
    assert written(outputs) == whole


def test_snapshot_does_not_alias() -> None:
    """A snapshot taken before more samples came still restores to where it was taken."""
    history, whole = told()
    stage = detect_stage()
    head = stage.step(history[:100])
    state = stage.snapshot()
    stage.step(history[100:])
    resumed = detect_stage()
    resumed.restore(state)
    assert written([*head, *resumed.step(history[100:])]) == whole


def test_wrong_snapshot_is_refused() -> None:
    """A snapshot of another version or stage is an error that says so."""
    stage = detect_stage()
    with pytest.raises(StateError):
        stage.restore({})
    stage.step(told()[0][:10])
    broken = {name: value for name, value in stage.snapshot().items() if not name.startswith("store.")}
    with pytest.raises(StateError):
        detect_stage().restore(broken)


def stage_of(changed: DetectConfiguration) -> DetectStage:
    return DetectStage(changed, input_topic="duri.samples", partition=0, sources=[SOURCE])


def swapped(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries, the first two in the other order."""
    first, second, *rest = entries
    return {name: entries[name] for name in (second, first, *rest)}


@pytest.mark.parametrize("what", ["signals", "rules", "regression rules", "frame_ms"])
def test_snapshot_of_another_configuration_is_refused(what: str) -> None:
    """What was learned of one signal is never taken for another's: the error names what changed."""
    ours = configuration()
    thresholds = ours.thresholds
    changed = {
        "signals": replace(
            ours, definitions=ours.definitions.model_copy(update={"signals": swapped(ours.definitions.signals)})
        ),
        "rules": replace(ours, thresholds=thresholds.model_copy(update={"rules": swapped(thresholds.rules)})),
        "regression rules": replace(
            ours, thresholds=thresholds.model_copy(update={"regression": swapped(thresholds.regression)})
        ),
        "frame_ms": configuration(frame_s=30.0),
    }
    stage = stage_of(ours)
    stage.step(told()[0][:50])
    with pytest.raises(StateError, match=f"taken with {what} "):
        stage_of(changed[what]).restore(stage.snapshot())
    stage_of(ours).restore(stage.snapshot())


def test_p95_rule_fires_at_five_minutes_end_to_end() -> None:
    """From raw buckets: the warning joins exactly when the fifth slow frame closes."""
    service = Service()
    scrapes = [*service.rows(10 * MINUTE, p95=0.15), *service.rows(10 * MINUTE, p95=0.6)]
    fired = [
        anomaly
        for anomaly in records(detect_stage().step(log(scrapes)), Topic.ANOMALIES)
        if "http_latency_p95_warning" in [one["rule"] for one in anomaly["detectors"]]
    ]
    first = Anomaly.model_validate(fired[0])
    # The first slow scrape is at 10:00; its requests count in the frame [10:00, 11:00).
    assert to_ms(first.last_at) == START + 15 * FRAME_MS
    [firing] = [one for one in first.detectors if one.rule == "http_latency_p95_warning"]
    assert firing.held_for_s == 300


def test_counter_reset_is_no_anomaly() -> None:
    """A restart of the service resets its counters; rates and quantiles go on."""
    service = Service()
    before = list(service.rows(30 * MINUTE))
    restarted = Service(start=service.now)
    frames = records(detect_stage().step(log([*before, *restarted.rows(30 * MINUTE)])), Topic.FRAMES)
    rates = [frame["signals"]["http.rps"]["value"] for frame in frames[2:]]
    assert all(rate == pytest.approx(100.0) for rate in rates)


def test_silent_service_is_absent_once_ticks_move_time() -> None:
    """Data that stops is a finding: ticks move event time on, and the absence is found after five minutes."""
    stage = detect_stage()
    stage.step(log(Service().rows(20 * MINUTE)))
    assert not stage.tick(5000)
    outputs = []
    for offset in range(1000, 1020):
        ticks = stage.tick(150_000)
        outputs += stage.step([LogRecord("duri.samples", 0, offset, 0, None, ticks[0].value, ticks[0].headers)])
    absent = records(outputs, Topic.ANOMALIES)[0]
    assert (absent["signal"], absent["detectors"][0]["detector"]) == ("samples", "absent")
    assert 19 * 60 + 300 <= (to_ms(Anomaly.model_validate(absent).opened_at) - START) / 1000 <= 21 * 60 + 300


def test_slower_source_is_waited_for() -> None:
    """While one input partition catches up, the other's samples wait: nothing is late, no frame is short."""
    core, brain = Service("duri_core"), Service("duri_brain")
    ahead = [samples(0, rows, "duri.metrics/0") for rows in core.rows(30 * MINUTE)]
    behind = [samples(0, rows, "duri.metrics/1") for rows in brain.rows(30 * MINUTE)]
    in_turn = [record for pair in zip(ahead, behind, strict=True) for record in pair]
    sources = ("duri.metrics/0", "duri.metrics/1")
    skewed = detect_stage(sources).step([moved(r, at) for at, r in enumerate([*ahead, *behind])])
    fair = detect_stage(sources).step([moved(r, at) for at, r in enumerate(in_turn)])
    frames = [{k: v for k, v in frame.items() if k != "source"} for frame in records(skewed, Topic.FRAMES)]
    assert frames == [{k: v for k, v in frame.items() if k != "source"} for frame in records(fair, Topic.FRAMES)]
    assert len(frames) >= 2 * 29


def test_idle_source_is_not_waited_for() -> None:
    """A source that says it is read to its end holds nobody up."""
    stage = detect_stage(("duri.metrics/0", "duri.metrics/1"))
    outputs = stage.step(log(Service().rows(5 * MINUTE)))
    assert not records(outputs, Topic.FRAMES)
    idle = SourceIdle(source="duri.metrics/1")
    headers = cloudevent_headers(idle.event_type(), "/ingest", "x", START)
    outputs = stage.step([LogRecord("duri.samples", 0, 99, START, None, idle.model_dump_json().encode(), headers)])
    assert len(records(outputs, Topic.FRAMES)) == 4


def test_waiting_samples_are_bounded() -> None:
    """When too many samples wait for a slow source, frames close without it, and that is counted."""
    stage = detect_stage(("duri.metrics/0", "duri.metrics/1"), max_waiting_samples=1000)
    stage.step(log(Service().rows(300 * MINUTE)))
    statistics = stage.statistics()
    assert statistics["forced_frames_total"] > 100
    assert statistics["frames_total"] > 100


def test_series_budget_holds() -> None:
    """No more series are modelled than allowed; who is refused is counted, and room is made for who comes later."""
    stage = detect_stage(max_series=50)

    def scrape(minute: int, names: range) -> dict[str, float]:
        at = START + minute * FRAME_MS
        stage.step([samples(minute, [(series("m", instance=str(i)), at + i, 1.0) for i in names])])
        assert stage.statistics()["series"] <= 50
        return dict(stage.statistics())

    scrape(0, range(60))
    first = scrape(1, range(60))
    assert first["series_refused_total"] >= 10
    # At the end of the frame the least recently seen made room: those that are still there go on.
    last = [scrape(minute, range(30, 60)) for minute in range(2, 6)][-1]
    assert last["unmodelled_samples_total"] == scrape(6, range(30, 60))["unmodelled_samples_total"]


def test_idle_series_are_forgotten() -> None:
    """A service that is gone for longer than the setting leaves nothing behind, its anomalies close."""
    stage = detect_stage(series_idle_s=3600.0)
    gone, stays = Service("gone"), Service("stays")
    outputs = stage.step(log([*gone.rows(30 * MINUTE), *gone.rows(10 * MINUTE, memory=0.99)]))
    stays.now = gone.now
    outputs += stage.step(log(stays.rows(120 * MINUTE), first_offset=1000))
    assert stage.statistics()["services"] == 1
    of_gone = [a for a in records(outputs, Topic.ANOMALIES) if a["service"] == "gone"]
    assert {a["id"] for a in of_gone if a["state"] == "opened"} == {a["id"] for a in of_gone if a["state"] == "closed"}


def test_a_jump_of_years_does_not_write_frames_of_years() -> None:
    """After a long silence event time jumps once the services are forgotten."""
    stage = detect_stage(series_idle_s=600.0)
    old = Service()
    stage.step(log(old.rows(10 * MINUTE)))
    new = Service(start=START + 3 * 365 * 86_400_000)
    outputs = stage.step(log(new.rows(10 * MINUTE), first_offset=500))
    assert len(outputs) < 100


def test_frames_are_valid_records() -> None:
    """What is written by hand for speed is what the public models read, with watermarks after each interval."""
    history, whole = told()
    outputs = detect_stage().step(history)
    frames = [Frame.model_validate(frame) for frame in records(outputs, Topic.FRAMES)]
    assert {frame.service for frame in frames} == {"duri_core", "duri_brain"}
    assert all(json.loads(frame.model_dump_json()) for frame in frames)
    assert any(frame.anomalies for frame in frames)
    marks = [
        Watermark.model_validate_json(output.value)
        for output in outputs
        if output.topic is Topic.FRAMES and dict(output.headers)["ce_type"] == b"duri.watermark.v1"
    ]
    # A minute in which nobody reported and nothing was open has a watermark and no frame.
    untils = [mark.until for mark in marks]
    assert untils == sorted(set(untils))
    assert {frame.end for frame in frames} <= set(untils)
    assert whole


def test_frame_json_equals_the_models() -> None:
    """A frame parsed and written again by pydantic holds the same data, field by field."""
    for frame in records(detect_stage().step(told()[0]), Topic.FRAMES):
        again = json.loads(Frame.model_validate(frame).model_dump_json())
        assert again == frame


def test_raw_series_are_watched_at_their_own_cadence() -> None:
    """A gauge that no signal uses is learned sample by sample and flagged with severity info."""
    quiet = [(series("queue_depth", instance="1"), START + i * 300_000, 10.0 + (i % 5)) for i in range(300)]
    loud = [(series("queue_depth", instance="1"), START + (300 + i) * 300_000, 500.0) for i in range(5)]
    outputs = detect_stage().step([samples(at, [row]) for at, row in enumerate([*quiet, *loud])])
    opened = [a for a in records(outputs, Topic.ANOMALIES) if a["state"] == "opened" and a["signal"] == "queue_depth"]
    flagged = Anomaly.model_validate(opened[-1])
    assert (flagged.severity, flagged.labels) == ("info", {"instance": "1"})
    assert to_ms(flagged.opened_at) == START + 300 * 300_000
    assert flagged.observed == 500.0
    assert (flagged.provenance.partition, flagged.provenance.offset) == (0, 300)


def test_statistics_count_what_was_dropped() -> None:
    """Late, duplicate and non-finite samples show in the statistics."""
    one = series("queue_depth")
    rows = [(one, START + 2000, 1.0), (one, START + 2000, 1.0), (one, START + 1000, 1.0), (one, START + 3000, math.nan)]
    stage = detect_stage()
    stage.step([samples(0, rows)])
    statistics = stage.statistics()
    assert (statistics["late_samples_total"], statistics["not_finite_samples_total"]) == (2, 1)


def test_frames_do_not_depend_on_the_order_of_services() -> None:
    """Frames of an interval are written sorted by service."""
    stage = detect_stage()
    services = [Service(name) for name in ("zeta", "alpha", "mid")]
    scrapes = [rows for group in zip(*(one.rows(3 * MINUTE) for one in services), strict=True) for rows in group]
    names = [frame["service"] for frame in records(stage.step(log(scrapes)), Topic.FRAMES)]
    assert names == ["alpha", "mid", "zeta"] * (len(names) // 3)
