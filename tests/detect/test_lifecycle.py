from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.contracts import Shape
from pipeline.detect.anomalies.lifecycle import RECENT, About, Anomalies, Key, LifecycleSettings, Observation
from pipeline.detect.frame import Flag
from pipeline.records import Anomaly, AnomalyState, Detector, Direction, Provenance, Severity
from tests.builders import START

MINUTE = 60_000
KEY = Key("duri_core", "http.latency.p95")
ABOUT = About(unit="s", labels={}, provenance=Provenance(topic="duri.samples", partition=0, offset=7))
SETTINGS = LifecycleSettings(close_after=5 * MINUTE, update_every=30 * MINUTE, max_open=100)


def flag(
    detector: Detector = Detector.LEARNED,
    severity: Severity = Severity.WARNING,
    *,
    rule: str | None = None,
    since: int = START,
    score: float = 0.7,
) -> Flag:
    return Flag(row=0, column=0, detector=detector, severity=severity, score=score, since=since, rule=rule)


def seen(minute: float, value: float = 0.9, expected: float = 0.2) -> Observation:
    return Observation(at=START + round(minute * MINUTE), value=value, expected=expected, lower=0.1, upper=0.3)


def anomalies(**settings: int) -> Anomalies:
    merged = {"close_after": SETTINGS.close_after, "update_every": SETTINGS.update_every, "max_open": 100} | settings
    return Anomalies(LifecycleSettings(**merged), "test.1")


def test_one_record_a_state_change() -> None:
    """It opens once, says nothing while nothing changes, and closes once."""
    book = anomalies()
    opened = book.fire(KEY, [flag()], seen(0), ABOUT)
    assert opened is not None
    assert opened.state is AnomalyState.OPENED
    assert [book.fire(KEY, [flag()], seen(minute), ABOUT) for minute in range(1, 10)] == [None] * 9
    resting = [book.rest(KEY, seen(minute, 0.2)) for minute in range(10, 20)]
    [closed] = [record for record in resting if record is not None]
    assert closed.state is AnomalyState.CLOSED
    assert closed.id == opened.id
    assert closed.closed_because == "recovered"
    # Five minutes after the last firing (minute 9), not a minute before.
    assert closed.closed_at is not None
    assert (closed.closed_at.timestamp() * 1000 - START) / MINUTE == 14
    assert len(book) == 0


def test_what_is_only_worth_knowing_now_is_told_apart() -> None:
    """An objective that is missed all day is no warning before something worse fires, nor a while after."""
    book, missed = anomalies(), flag(Detector.STATIC, Severity.INFO, rule="objective")
    book.fire(KEY, [missed], seen(0), ABOUT)
    [now] = book.of("duri_core")
    assert (now.present_severity, now.serious_since) == (Severity.INFO, None)
    book.fire(KEY, [missed, flag()], seen(10), ABOUT)
    book.fire(KEY, [missed], seen(14), ABOUT)
    assert (now.present_severity, now.serious_since) == (Severity.WARNING, START + 10 * MINUTE)
    book.fire(KEY, [missed], seen(15), ABOUT)
    assert (now.present_severity, now.serious_since) == (Severity.INFO, None)
    assert now.severity is Severity.WARNING


def test_coming_and_going_does_not_flap() -> None:
    """A detector that fires every other minute is one anomaly with one opening."""
    book = anomalies()
    records = [
        book.fire(KEY, [flag()], seen(minute), ABOUT) if minute % 2 else book.rest(KEY, seen(minute, 0.2))
        for minute in range(60)
    ]
    states = [record.state for record in records if record is not None]
    assert states.count(AnomalyState.OPENED) == 1
    assert AnomalyState.CLOSED not in states
    assert len(states) <= 3


def test_worse_and_joined_are_updates() -> None:
    """A second detector and a higher severity are reported; the lead over the static rule is counted in seconds."""
    book = anomalies()
    book.fire(KEY, [flag()], seen(0), ABOUT)
    static = flag(Detector.STATIC, Severity.CRITICAL, rule="p95_critical", since=START + 15 * MINUTE)
    update = book.fire(KEY, [flag(), static], seen(20), ABOUT)
    assert update is not None
    assert update.state is AnomalyState.UPDATED
    assert update.severity is Severity.CRITICAL
    assert update.lead_s == 20 * 60
    assert [(one.detector, one.rule) for one in update.detectors] == [
        (Detector.LEARNED, None),
        (Detector.STATIC, "p95_critical"),
    ]
    assert update.detectors[1].held_for_s == 5 * 60


def test_static_rule_first_is_a_negative_lead() -> None:
    """A learner that comes after the static rule was not ahead of it."""
    book = anomalies()
    static = flag(Detector.STATIC, rule="p95_warning")
    book.fire(KEY, [static], seen(0), ABOUT)
    update = book.fire(KEY, [static, flag()], seen(3), ABOUT)
    assert update is not None
    assert update.lead_s == -180


def test_info_rules_are_no_measure_of_the_lead() -> None:
    """Baseline rules inform; the lead is over the rules that alert."""
    book = anomalies()
    book.fire(KEY, [flag()], seen(0), ABOUT)
    update = book.fire(KEY, [flag(), flag(Detector.STATIC, Severity.INFO, rule="baseline")], seen(9), ABOUT)
    assert update is not None
    assert update.lead_s is None


def test_standing_anomaly_is_repeated_seldom() -> None:
    """A day of standing trouble is one opening and at most two reports an hour."""
    book = anomalies()
    records = [book.fire(KEY, [flag()], seen(minute), ABOUT) for minute in range(24 * 60)]
    assert sum(record is not None for record in records) == 48


def test_worst_observation_is_kept() -> None:
    """The record shows the value that lay furthest from the expectation, with that expectation."""
    book = anomalies()
    book.fire(KEY, [flag()], seen(0, 0.5), ABOUT)
    book.fire(KEY, [flag()], seen(1, 1.5), ABOUT)
    book.fire(KEY, [flag()], seen(2, 0.6, 0.4), ABOUT)
    record = book.gone(KEY, START + 3 * MINUTE)
    assert record is not None
    assert (record.observed, record.expected, record.direction) == (1.5, 0.2, Direction.UP)
    assert record.closed_because == "series_gone"
    assert record.recent == [0.5, 1.5, 0.6]


@pytest.mark.parametrize("values", [(0.5, math.nan), (math.nan, 0.5)])
def test_a_gap_before_warm_up_keeps_the_value(values: tuple[float, float]) -> None:
    """Without an expectation the newest value counts; that there is none is not a value."""
    book = anomalies()
    for minute, value in enumerate(values):
        book.fire(KEY, [flag()], seen(minute, value, math.nan), ABOUT)
    record = book.gone(KEY, START + 3 * MINUTE)
    assert record is not None
    assert record.observed == 0.5


def test_new_level_closes_as_new_normal() -> None:
    """Where the value stayed and the expectation followed, nothing has recovered."""
    book = anomalies()
    book.fire(KEY, [flag()], seen(0, 0.9), ABOUT)
    records = [book.rest(KEY, seen(minute, 0.85, 0.85)) for minute in range(1, 8)]
    [closed] = [record for record in records if record is not None]
    assert closed.closed_because == "new_normal"


def test_absent_data_has_no_value() -> None:
    """Absence is published as null, never as a number."""
    book = anomalies()
    opened = book.fire(KEY, [flag(Detector.ABSENT)], Observation(at=START), ABOUT)
    assert opened is not None
    assert (opened.observed, opened.expected, opened.direction) == (None, None, Direction.NONE)
    assert Anomaly.model_validate_json(opened.model_dump_json()) == opened


def test_static_rule_tells_the_direction_before_anything_is_learned() -> None:
    """Without an expectation a value beyond a rule's threshold is up or down from that threshold."""
    over = Flag(0, 0, Detector.STATIC, Severity.WARNING, 1.0, START, rule="memory", threshold=0.85)
    opened = anomalies().fire(KEY, [over], Observation(at=START, value=0.97), ABOUT)
    assert opened is not None
    assert opened.direction is Direction.UP


def test_open_anomalies_are_bounded() -> None:
    """Beyond the bound further anomalies are refused and counted."""
    book = anomalies(max_open=2)
    for number in range(5):
        book.fire(Key("s", f"signal{number}"), [flag()], seen(0), ABOUT)
    assert (len(book), book.refused) == (2, 3)


steps = st.lists(
    st.tuples(st.sampled_from(["learned", "static", "rest", "gone"]), st.floats(0, 10), st.sampled_from(["a", "b"])),
    max_size=80,
)


def play(book: Anomalies, moves: list[tuple[str, float, str]], start: int) -> list[str]:
    """Records of these moves, one a minute."""
    records = []
    for minute, (move, value, signal) in enumerate(moves, start=start):
        key = Key("s", signal)
        observation = seen(minute, value)
        if move == "rest":
            record = book.rest(key, observation)
        elif move == "gone":
            record = book.gone(key, observation.at)
        else:
            detector = Detector(move)
            rule = "r" if detector is Detector.STATIC else None
            record = book.fire(key, [flag(detector, rule=rule, since=observation.at)], observation, ABOUT)
        if record is not None:
            records.append(record.model_dump_json())
    return records


@given(steps)
def test_every_anomaly_opens_once_and_closes_last(moves: list[tuple[str, float, str]]) -> None:
    """For each id the states are: opened, any number of updates, at most one close at the end."""
    by_id: dict[str, list[Anomaly]] = {}
    for text in play(anomalies(), moves, 0):
        record = Anomaly.model_validate_json(text)
        by_id.setdefault(record.id, []).append(record)
    for records in by_id.values():
        states = [record.state for record in records]
        assert states[0] is AnomalyState.OPENED
        assert AnomalyState.OPENED not in states[1:]
        assert AnomalyState.CLOSED not in states[:-1]
        assert all(len(record.recent) <= RECENT for record in records)


@given(steps, st.integers(0, 80))
def test_restored_book_goes_on(moves: list[tuple[str, float, str]], place: int) -> None:
    """A snapshot in the middle changes nothing of what follows."""
    whole = play(anomalies(), moves, 0)
    first, second = anomalies(), anomalies()
    before = play(first, moves[:place], 0)
    second.restore(first.snapshot())
    assert before + play(second, moves[place:], min(place, len(moves))) == whole


@pytest.mark.parametrize("value", [math.nan, 0.0, 1e300])
def test_records_are_always_valid(value: float) -> None:
    """Whatever was observed, the record validates against its schema."""
    record = anomalies().fire(KEY, [flag()], seen(0, value), ABOUT)
    assert record is not None
    assert Anomaly.model_validate_json(record.model_dump_json()).id == record.id


def test_the_new_normal_closes_at_once() -> None:
    """Where all that fires says that this is normal from now on, one closing record says so."""
    book = anomalies()
    opened = book.fire(KEY, [flag()], seen(0), ABOUT)
    assert opened is not None
    closed = book.fire(KEY, [flag()._replace(settled=True)], seen(60), ABOUT)
    assert closed is not None
    assert (closed.state, closed.closed_because) == (AnomalyState.CLOSED, "new_normal")
    assert KEY not in book


def test_a_static_rule_keeps_a_new_normal_open() -> None:
    """What learners take for normal may still be too slow for people."""
    book = anomalies()
    static = flag(Detector.STATIC, rule="p95_warning")
    book.fire(KEY, [flag(), static], seen(0), ABOUT)
    book.fire(KEY, [flag()._replace(settled=True), static], seen(60), ABOUT)
    assert KEY in book


def test_the_shape_is_told_and_kept() -> None:
    """A spike that turns out to be a shift is called so; when it ends, the name stays."""
    book = anomalies()
    opened = book.fire(KEY, [flag()._replace(shape=Shape.SPIKE)], seen(0), ABOUT)
    assert opened is not None
    assert opened.shape == "spike"
    book.fire(KEY, [flag()._replace(shape=Shape.SHIFT)], seen(1), ABOUT)
    book.fire(KEY, [flag()._replace(shape=Shape.NONE)], seen(2), ABOUT)
    closed = book.gone(KEY, START + 3 * MINUTE)
    assert closed is not None
    assert closed.shape == "shift"
