"""What the faults call the truth is what the catalogue can say, and they are named once."""

from __future__ import annotations

import pytest

from lab.faults import FAULTS, Fault
from tests.advise.helpers import shipped


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_the_truth_is_a_finding_and_a_knob_of_one_rule(fault: Fault) -> None:
    """A truth that no rule can say would never be found right."""
    catalogue, _ = shipped()
    known = {(entry.rule.finding, entry.rule.kind) for entry in catalogue.rules}
    assert fault.control or (fault.finding, fault.kind) in known


def test_the_swing_of_a_day_returns_to_where_it_began() -> None:
    swing = FAULTS["daily-swing"]
    assert [round(swing.load_at(seconds), 3) for seconds in (0.0, 90.0, 180.0, 300.0)] == [1.0, 1.5, 1.0, 1.0]
