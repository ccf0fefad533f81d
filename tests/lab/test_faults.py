"""What the faults call the truth is what the catalogue can say, and they are named once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from lab.faults import FAULTS, Fault
from lab.faults.redis_client_leak import RedisClientLeak
from tests.advise.helpers import shipped

if TYPE_CHECKING:
    from lab.system import Lab


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_the_truth_is_a_finding_and_a_knob_of_one_rule(fault: Fault) -> None:
    """A truth that no rule can say would never be found right."""
    catalogue, _ = shipped()
    known = {(entry.rule.finding, entry.rule.kind) for entry in catalogue.rules}
    assert fault.control or (fault.finding, fault.kind) in known


def test_the_swing_of_a_day_comes_again_each_day() -> None:
    swing = FAULTS["daily-swing"]
    for day in range(3):
        hours = (180.0 * day + seconds for seconds in (0.0, 45.0, 90.0, 135.0))
        assert [round(swing.load_at(seconds), 3) for seconds in hours] == [1.0, 1.5, 1.0, 0.5]


def test_a_leak_that_never_began_is_undone() -> None:
    """A run that breaks before the injection is undone as well, and its own error must be what is told."""
    leak = RedisClientLeak()
    asyncio.run(leak.undo(cast("Lab", None)))
