"""Reported by the detect stage's tests: a regular pattern must not hold the bank in alarm."""

from __future__ import annotations

import numpy as np
import pytest

from models.online.bank import Bank

START = 1_767_225_600_000


@pytest.mark.parametrize("step_s", [1, 15, 60, 300, 3600])
@pytest.mark.parametrize("period", [2, 5, 12])
def test_a_regular_sawtooth_is_normal(step_s: int, period: int) -> None:
    """A sawtooth that never changes is not in alarm for long: found on 10, 11, 12, 13, 14, 10, … at 5 minutes."""
    values = 10.0 + np.arange(600) % period
    bank = Bank()
    bank.grow(1)
    ts = START + np.arange(600, dtype=np.int64) * step_s * 1000
    verdicts = bank.score_learn(np.zeros(600, dtype=np.int32), ts, values)
    assert verdicts.alarm.sum() <= 30


def test_an_alarm_on_a_sawtooth_ends_after_the_spike() -> None:
    """Five samples far away are in alarm, and thirty samples later the sawtooth is normal again."""
    values = np.concatenate([10.0 + np.arange(300) % 5, [500.0] * 5, 10.0 + np.arange(200) % 5])
    bank = Bank()
    bank.grow(1)
    ts = START + np.arange(len(values), dtype=np.int64) * 300_000
    verdicts = bank.score_learn(np.zeros(len(values), dtype=np.int32), ts, values)
    assert verdicts.alarm[300:305].all()
    assert not verdicts.alarm[200:300].any()
    assert not verdicts.alarm[340:].any()
