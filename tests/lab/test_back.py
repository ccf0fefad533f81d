"""When a figure counts as back where it was, and which figure that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lab.back import Measured, measured
from lab.proof import Proof
from pipeline.settings import load_settings
from pipeline.signals.definitions import load_definitions

SIGNALS = load_definitions(load_settings().config_dir).signals
FELT = Proof("pool-too-small", p95_before=0.08, p95_during=0.5, p95_after=0.09, target="app.pool.utilisation")
UNFELT = replace(
    FELT,
    p95_during=0.08,
    target="pg.temp_bytes.rate",
    levels={"before": 0.0, "during": 9e5, "after": 0.0, "undone": 1.8e6},
)


def test_what_users_feel_comes_before_the_signal() -> None:
    found = measured(replace(FELT, levels={"before": 0.3, "during": 1.0, "after": 1.0}), SIGNALS)
    assert found is not None
    assert (found.name, found.back) == ("p95", True)


def test_where_users_felt_nothing_the_signal_tells() -> None:
    """Until the undo brings the trouble back."""
    found = measured(UNFELT, SIGNALS)
    assert found is not None
    assert (found.name, found.back, found.off(found.undone)) == ("pg.temp_bytes.rate", True, True)
    still = measured(replace(UNFELT, levels={**UNFELT.levels, "after": 9e5}), SIGNALS)
    assert still is not None
    assert not still.back


def test_without_a_signal_users_tell_and_without_users_nobody() -> None:
    found = measured(replace(FELT, p95_during=0.08, target=None), SIGNALS)
    assert found is not None
    assert found.name == "p95"
    assert measured(Proof("healthy"), SIGNALS) is None


@pytest.mark.parametrize(
    ("change", "level", "off"),
    [
        ({}, 12.0, False),
        ({}, 12.1, True),
        ({}, 1.0, False),
        ({"worse": "down"}, 7.9, True),
        ({"worse": "down"}, 20.0, False),
        ({"worse": "both"}, 7.9, True),
        ({"floor": 5.0}, 14.0, False),
        ({}, None, True),
    ],
)
def test_off_is_a_fifth_in_the_direction_that_hurts(change: dict[str, Any], level: float | None, off: bool) -> None:
    """And more than the floor below which nobody cares; what was not measured is not back."""
    assert Measured("x", 10.0, 20.0, 10.0, None)._replace(**change).off(level) is off
