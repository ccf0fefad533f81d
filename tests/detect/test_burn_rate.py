"""Burn rates of error budgets, over two windows each."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.configfile import shipped_config
from pipeline.detect.detectors.burn_rate import BurnRates
from pipeline.detect.detectors.thresholds import Objective, load_thresholds
from pipeline.detect.frame import ClosedFrame, Flag
from pipeline.errors import SettingsError
from pipeline.records import Detector, Severity
from pipeline.signals.definitions import load_definitions

MINUTE = 60_000
OBJECTIVE = {"core": Objective(objective=0.999, services="core")}


class Watched:
    """Burn rates of one service, minute by minute."""

    def __init__(self, service: str = "core", rps: float = 100.0) -> None:
        self.rates = BurnRates(OBJECTIVE, ["http.availability", "http.rps"], MINUTE)
        self.rates.grow(1)
        self.rates.attach(0, service)
        self.rps = rps
        self.minute = 0

    def minutes(self, count: int, failing: float) -> list[Flag]:
        """So many minutes in which this share fails; the flags of the last."""
        flags: list[Flag] = []
        for _ in range(count):
            start = self.minute * MINUTE
            self.minute += 1
            one = np.ones((1, 2), dtype=bool)
            values = np.array([[1.0 - failing, self.rps]])
            flags = list(self.rates.judge(ClosedFrame(start, start + MINUTE, values, one, one[:, 0], one[:, 0])))
        return flags

    def rules(self, count: int, failing: float) -> set[str | None]:
        """Rules that fire in the last of so many minutes."""
        return {flag.rule for flag in self.minutes(count, failing)}


def test_fast_burn_is_critical_within_minutes() -> None:
    """A fifth of the requests fails: the hour's budget is gone at fourteen times the pace after five minutes."""
    watched = Watched()
    assert watched.rules(60, 0.0) == set()
    found = watched.minutes(6, 0.2)
    assert {type(flag.score) for flag in found} == {float}  # frames are written as JSON
    assert {(flag.rule, flag.severity, flag.detector) for flag in found} >= {
        ("core_14.4x", Severity.CRITICAL, Detector.BURN_RATE)
    }


def test_slow_burn_is_a_warning_after_hours() -> None:
    """0.8 % failing is no cliff, and eats a tenth of a month's budget in half a day."""
    watched = Watched()
    watched.minutes(360, 0.0)
    assert watched.rules(30, 0.008) == set()
    assert "core_6x" in watched.rules(270, 0.008)


def test_it_ends_with_the_short_window() -> None:
    """Once nothing fails any more the alert ends within minutes, though the hour is still bad."""
    watched = Watched()
    watched.minutes(60, 0.0)
    assert "core_14.4x" in watched.rules(10, 0.3)
    assert "core_14.4x" not in watched.rules(11, 0.0)


def test_failures_that_the_budget_allows() -> None:
    """As much as the objective permits burns at one: no alert ahead of time."""
    assert Watched().rules(400, 0.0009) == set()


def test_other_services_and_few_failures() -> None:
    """An objective has its services; of few requests a handful of failures says little."""
    assert Watched("other").rules(30, 0.5) == set()
    assert Watched(rps=0.01).rules(60, 0.1) == set()


def test_snapshot_goes_on() -> None:
    """A restart changes no flag."""
    watched, fresh = Watched(), Watched("other")
    watched.minutes(60, 0.0)
    watched.minutes(5, 0.2)
    fresh.rates.restore(watched.rates.snapshot())
    fresh.minute = watched.minute
    assert fresh.minutes(3, 0.2) == watched.minutes(3, 0.2) != []


def test_evicted_row_is_as_new() -> None:
    """The row's next service has no budget spent."""
    watched = Watched()
    watched.minutes(10, 0.5)
    watched.rates.evict(np.array([0], dtype=np.int32))
    watched.rates.attach(0, "core")
    assert watched.rules(5, 0.0) == set()


def test_shipped_objectives_are_the_guides(tmp_path) -> None:
    """99.9, 99.5 and 99.0 %; an unknown signal is named with its line."""
    thresholds = load_thresholds(shipped_config(), load_definitions(shipped_config()))
    assert sorted(each.objective for each in thresholds.objectives.values()) == [0.99, 0.995, 0.999]
    (tmp_path / "thresholds.yaml").write_text(
        "rules: {}\nobjectives:\n  a: {objective: 0.9, signal: http.availabilty}\n"
    )
    with pytest.raises(SettingsError, match=r"thresholds\.yaml:3.*availabilty"):
        load_thresholds(tmp_path, load_definitions(shipped_config()))
