from __future__ import annotations

import math

import pytest

from pipeline.configfile import shipped_config
from pipeline.detect.detectors.static import StaticRules
from pipeline.detect.detectors.thresholds import StaticRule, Thresholds, load_thresholds
from pipeline.records import Severity
from pipeline.signals.definitions import load_definitions
from tests.detect.drive import FRAME_MS, SIGNALS, frame

THRESHOLDS: Thresholds = load_thresholds(shipped_config(), load_definitions(shipped_config()))
PATIENCE_MS = 300_000


def rules(rule_id: str, service: str = "duri_core") -> StaticRules:
    """One rule on one service."""
    one = StaticRules({rule_id: THRESHOLDS.rules[rule_id]}, SIGNALS, PATIENCE_MS)
    one.grow(1)
    one.attach(0, service)
    return one


def service_of(rule: StaticRule) -> str:
    return rule.services.split("|")[0] if rule.services != ".*" else "duri_core"


def fires(detector: StaticRules, number: int, rule: StaticRule, value: float) -> bool:
    return bool(list(detector.judge(frame(number, {rule.signal: value}))))


@pytest.mark.parametrize("rule_id", THRESHOLDS.rules)
def test_fires_exactly_at_its_duration(rule_id: str) -> None:
    """Every rule fires at the end of the frame in which its duration is full, and not one frame before."""
    rule = THRESHOLDS.rules[rule_id]
    detector = rules(rule_id, service_of(rule))
    beyond = rule.threshold + rule.sign * abs(rule.threshold) * 0.01
    frames = max(1, math.ceil(rule.hold_ms / FRAME_MS))
    fired = [fires(detector, number, rule, beyond) for number in range(frames)]
    assert fired == [False] * (frames - 1) + [True]


@pytest.mark.parametrize("rule_id", THRESHOLDS.rules)
def test_silent_at_the_threshold(rule_id: str) -> None:
    """A value at the threshold is not beyond it, however long it stays."""
    rule = THRESHOLDS.rules[rule_id]
    detector = rules(rule_id, service_of(rule))
    assert not any(fires(detector, number, rule, rule.threshold) for number in range(40))


@pytest.mark.parametrize("rule_id", [r for r, rule in THRESHOLDS.rules.items() if rule.hold_ms > FRAME_MS])
def test_one_good_frame_starts_the_duration_over(rule_id: str) -> None:
    """A frame inside the threshold before the duration is full starts it over."""
    rule = THRESHOLDS.rules[rule_id]
    detector = rules(rule_id, service_of(rule))
    beyond = rule.threshold + rule.sign * abs(rule.threshold) * 0.01
    frames = math.ceil(rule.hold_ms / FRAME_MS)
    values = [*[beyond] * (frames - 1), rule.threshold, *[beyond] * (frames - 1)]
    assert not any(fires(detector, number, rule, value) for number, value in enumerate(values))
    assert fires(detector, len(values), rule, beyond)


def test_ends_only_beyond_the_hysteresis() -> None:
    """A firing rule goes on while the value is just inside the threshold and ends 5 % inside."""
    rule = THRESHOLDS.rules["container_memory_warning"]
    detector = rules("container_memory_warning")
    assert [fires(detector, at, rule, value) for at, value in enumerate([0.9, 0.84, 0.82, 0.80, 0.84])] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_missing_values_neither_fire_nor_end() -> None:
    """Frames without a value keep a pending rule pending, until they have lasted too long."""
    rule = THRESHOLDS.rules["http_latency_p95_critical"]
    detector = rules("http_latency_p95_critical")
    assert not fires(detector, 0, rule, 2.0)
    assert not fires(detector, 1, rule, math.nan)
    assert fires(detector, 2, rule, 2.0)
    assert fires(detector, 3, rule, math.nan)
    assert not any(fires(detector, number, rule, math.nan) for number in range(8, 12))


def test_rule_of_another_service_is_silent() -> None:
    """A rule for some services does not concern the others."""
    rule = THRESHOLDS.rules["objective_availability_brain"]
    detector = rules("objective_availability_brain", "duri_core")
    assert not any(fires(detector, number, rule, 0.5) for number in range(40))


def test_guides_numbers_are_shipped() -> None:
    """The guide's alert rules are there with its thresholds, durations and severities."""
    shipped = {
        (rule.signal, rule.sign * rule.threshold, rule.hold_ms // 60_000, rule.severity)
        for rule in THRESHOLDS.rules.values()
    }
    warning, critical = Severity.WARNING, Severity.CRITICAL
    assert {
        ("http.latency.p95", 0.5, 5, warning),
        ("http.latency.p95", 1.0, 2, critical),
        ("http.rps", -50.0, 10, warning),
        ("http.rps", -10.0, 5, critical),
        ("container.cpu.utilisation", 0.8, 0, warning),
        ("container.cpu.utilisation", 0.95, 0, critical),
        ("container.memory.utilisation", 0.85, 0, warning),
        ("container.memory.utilisation", 0.95, 0, critical),
    } <= shipped
