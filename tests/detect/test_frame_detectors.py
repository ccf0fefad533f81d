from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.online.bank import BankSettings
from pipeline.configfile import shipped_config
from pipeline.detect.anomalies.recent import RecentValues
from pipeline.detect.detectors.absent import AbsentData
from pipeline.detect.detectors.learned import LearnedSignals
from pipeline.detect.detectors.regression import RegressionRules
from pipeline.detect.detectors.static import StaticRules
from pipeline.detect.detectors.thresholds import load_thresholds
from pipeline.detect.frame import WHOLE_SERVICE, Flag
from pipeline.records import Severity
from pipeline.signals.definitions import load_definitions
from tests.detect.drive import FRAME_MS, SIGNALS, frame

if TYPE_CHECKING:
    from collections.abc import Callable

DEFINITIONS = load_definitions(shipped_config())
THRESHOLDS = load_thresholds(shipped_config(), DEFINITIONS)
DAY = 1440


def regression(rule_id: str) -> RegressionRules:
    rules = RegressionRules({rule_id: THRESHOLDS.regression[rule_id]}, SIGNALS, FRAME_MS)
    rules.grow(1)
    return rules


def first_fired(detector: RegressionRules, signal: str, value: Callable[[int], float], frames: int) -> int | None:
    """Number of the first frame in which it fires."""
    for number in range(frames):
        if list(detector.judge(frame(number, {signal: value(number)}))):
            return number
    return None


@pytest.mark.parametrize(
    ("rule_id", "signal", "before", "worse"),
    [
        ("http_latency_p95_regression", "http.latency.p95", 0.2, 0.3),
        ("http_rps_regression", "http.rps", 100.0, 70.0),
        ("http_error_ratio_regression", "http.error_ratio", 0.01, 0.02),
    ],
)
def test_regression_against_the_day_before(rule_id: str, signal: str, before: float, worse: float) -> None:
    """Worse by more than 20 % than one day before fires, after its window and duration, never on the first day."""
    onset = DAY + 100
    number = first_fired(regression(rule_id), signal, lambda at: worse if at >= onset else before, DAY + 200)
    assert number is not None
    # At least its ten minutes, at most those plus the whole averaging window.
    assert onset + 9 <= number <= onset + 25


@pytest.mark.parametrize(
    ("rule_id", "signal", "before", "after"),
    [
        ("http_latency_p95_regression", "http.latency.p95", 0.2, 0.23),
        ("http_latency_p95_regression", "http.latency.p95", 0.3, 0.1),
        ("http_latency_p95_regression", "http.latency.p95", 0.010, 0.025),
        ("http_rps_regression", "http.rps", 100.0, 140.0),
        ("http_error_ratio_regression", "http.error_ratio", 0.001, 0.003),
    ],
)
def test_no_regression(rule_id: str, signal: str, before: float, after: float) -> None:
    """Less than 20 % worse, better, or worse by less than anybody feels: silence."""
    detector = regression(rule_id)
    assert first_fired(detector, signal, lambda at: after if at >= DAY + 100 else before, DAY + 200) is None


def test_regression_needs_both_days() -> None:
    """Without values a day before there is nothing to compare with."""
    rule = "http_latency_p95_regression"
    values = lambda at: math.nan if at < 1000 else 0.5 if at > 1500 else 0.1  # noqa: E731
    assert first_fired(regression(rule), "http.latency.p95", values, 2400) is None


def absent() -> AbsentData:
    detector = AbsentData(len(SIGNALS), 300_000)
    detector.grow(1)
    return detector


def test_absent_signal_after_five_minutes() -> None:
    """A signal whose series fall silent is a finding at exactly five minutes, its service goes on."""
    detector = absent()
    both = {"http.rps": 1.0, "redis.hit_ratio": 0.9}
    for number in range(20):
        assert not list(detector.judge(frame(number, both)))
    fired = [list(detector.judge(frame(20 + number, {"http.rps": 1.0}))) for number in range(6)]
    assert [bool(flags) for flags in fired] == [False] * 4 + [True] * 2
    [flag] = fired[-1]
    assert SIGNALS[flag.column] == "redis.hit_ratio"


def test_silent_service_is_one_finding() -> None:
    """When everything of a service is silent that is one finding, not one for each signal."""
    detector = absent()
    for number in range(20):
        list(detector.judge(frame(number, {"http.rps": 1.0, "redis.hit_ratio": 0.9})))
    flags = [flag for number in range(20, 30) for flag in detector.judge(frame(number, {}, silent=True))]
    assert {flag.column for flag in flags} == {WHOLE_SERVICE}


def test_what_reports_seldom_may_be_silent_longer() -> None:
    """A signal that comes every ten minutes is not absent in between."""
    detector = absent()
    flags: list[Flag] = []
    for number in range(200):
        values = {"http.rps": 1.0} | ({"redis.hit_ratio": 0.9} if number % 10 == 0 else {})
        flags += detector.judge(frame(number, values))
    # The first gaps teach what is usual.
    assert not [flag for flag in flags if flag.since > frame(100, {}).start]


def test_never_seen_is_not_absent() -> None:
    """A service without Redis does not miss it."""
    detector = absent()
    assert not [flag for number in range(50) for flag in detector.judge(frame(number, {"http.rps": 1.0}))]


def learned() -> LearnedSignals:
    detector = LearnedSignals(list(DEFINITIONS.signals.values()), BankSettings())
    detector.grow(1)
    return detector


def judge_series(detector: LearnedSignals, signal: str, values: list[float]) -> list[Flag]:
    return [flag for number, value in enumerate(values) for flag in detector.judge(frame(number, {signal: value}))]


def noisy(level: float, spread: float, count: int) -> list[float]:
    values: list[float] = (level + spread * np.random.default_rng(7).standard_normal(count)).tolist()
    return values


def test_learned_flags_a_level_shift_as_hurting() -> None:
    """A latency far above what was learned is a warning; so far below is worth knowing only."""
    up = judge_series(learned(), "http.latency.p95", [*noisy(0.2, 0.01, 300), 0.6, 0.6, 0.6])
    down = judge_series(learned(), "http.latency.p95", [*noisy(0.6, 0.01, 300), 0.1, 0.1, 0.1])
    shifted = frame(300, {}).end
    assert {flag.severity for flag in up if flag.since >= shifted} == {Severity.WARNING}
    assert {flag.severity for flag in down if flag.since >= shifted} == {Severity.INFO}


def test_learned_ignores_what_is_below_the_floor() -> None:
    """A deviation that is large in sigmas and small for people is not flagged."""
    assert not judge_series(learned(), "http.latency.p95", [*noisy(0.05, 0.0001, 300), 0.06, 0.06, 0.06])


def recent() -> RecentValues:
    ring = RecentValues(len(SIGNALS), FRAME_MS)
    ring.grow(1)
    return ring


def test_recent_values_begin_with_the_first() -> None:
    """A gap is a gap; what was before the signal's first value is not."""
    ring = recent()
    for number, value in enumerate([math.nan, math.nan, 1.0, math.nan, 3.0]):
        ring.keep(frame(number, {"http.rps": value}))
    again = recent()
    again.restore(ring.snapshot())
    values = again.of(0, SIGNALS.index("http.rps"), frame(5, {}).end)
    assert np.array_equal(values, [1.0, math.nan, 3.0], equal_nan=True)
    assert again.of(0, SIGNALS.index("redis.hit_ratio"), frame(5, {}).end) == []


def test_recent_values_are_those_before_now() -> None:
    """A sparkline holds the newest sixty frames in order."""
    recent = RecentValues(len(SIGNALS), FRAME_MS)
    recent.grow(1)
    for number in range(100):
        recent.keep(frame(number, {"http.rps": float(number)}))
    values = recent.of(0, SIGNALS.index("http.rps"), frame(100, {}).end)
    assert values == [float(number) for number in range(41, 100)]


@pytest.mark.parametrize("make", [absent, lambda: regression("http_rps_regression"), learned])
def test_snapshot_restores(make: Callable[[], AbsentData]) -> None:
    """A detector restored from its snapshot flags what the original flags."""
    values = [*noisy(100.0, 2.0, 400), *[20.0] * 40, *[math.nan] * 20]
    original, resumed = make(), make()
    for number, value in enumerate(values[:390]):
        list(original.judge(frame(number, {"http.rps": value})))
    resumed.restore(original.snapshot())
    for number, value in enumerate(values[390:], start=390):
        at = frame(number, {} if math.isnan(value) else {"http.rps": value}, silent=math.isnan(value))
        assert list(original.judge(at)) == list(resumed.judge(at))


def test_evicted_rows_are_as_new() -> None:
    """A row that another service takes over holds nothing of the one before."""
    static = StaticRules(THRESHOLDS.rules, SIGNALS, 300_000)
    static.grow(1)
    static.attach(0, "duri_core")
    assert list(static.judge(frame(0, {"container.memory.utilisation": 0.99})))
    static.evict(np.array([0], dtype=np.int32))
    assert not list(static.judge(frame(1, {"container.memory.utilisation": 0.99})))


@pytest.mark.parametrize("make", [lambda: RegressionRules(THRESHOLDS.regression, SIGNALS, FRAME_MS), recent, learned])
def test_a_service_without_the_signals_takes_next_to_nothing(make: Callable[[], Any]) -> None:
    """Rings and learners are for signals that were there: a service of one raw gauge costs its row only."""
    detector = make()
    detector.grow(1)
    empty = take_frames(detector, {})
    assert take_frames(detector, {"http.rps": 1.0}) > empty
    detector.evict(np.array([0], dtype=np.int32))
    detector.grow(1000)
    assert take_frames(detector, {}) - empty < 1000 * 4 * (len(SIGNALS) + 1) + 10_000


def take_frames(detector: Any, values: dict[str, float]) -> int:
    """Bytes of state after some frames with these values."""
    for number in range(3):
        at = frame(number, values)
        list(detector.judge(at)) if hasattr(detector, "judge") else detector.keep(at)
    return sum(part.nbytes for part in detector.snapshot().values())
