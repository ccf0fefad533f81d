"""Conditions in words, for people who read what came of a change."""

from __future__ import annotations

import pytest

from pipeline.advise.rules.words import in_words
from tests.advise.helpers import shipped

UNITS = {**shipped()[0].signals, "redis.timeout": "s"}
CPU = 'signals["node.cpu.utilisation"]'
ROWS = "pg.seq_tup_read.rate"
CASES = [
    (f"{CPU} >= 0.95", "node.cpu.utilisation is 95 % or more"),
    (f"!({CPU} >= 0.95)", "node.cpu.utilisation is below 95 %"),
    ('signals["pg.locks.waiting"] < 3.0', "pg.locks.waiting is below 3"),
    ('signals["pg.deadlocks.rate"] == 0.0', "pg.deadlocks.rate is 0/s"),
    ("settings['redis.timeout'] > 300.0", "redis.timeout is above 5 min"),
    (
        'signals["http.latency.p95"] <= 1.3 * usual["http.latency.p95"]',
        "http.latency.p95 is 1.3 times what was usual or less",
    ),
    (
        'signals["http.error_ratio"] <= usual["http.error_ratio"] + 0.01',
        "http.error_ratio is what was usual plus 1 percentage point or less",
    ),
    (
        'signals["pg.dead_tuples"] < 0.3 * before["pg.dead_tuples"]',
        "pg.dead_tuples is below 30 % of what it was before the change",
    ),
    (
        f'{CPU} < math.greatest(0.8, peak["node.cpu.utilisation"])',
        "node.cpu.utilisation is below the greater of 80 % and the highest that was seen",
    ),
    (f"{CPU} > signals['container.cpu.utilisation']", "node.cpu.utilisation is above container.cpu.utilisation"),
    (
        f'{CPU} >= 0.95 && before["node.cpu.utilisation"] < 0.95',
        "node.cpu.utilisation is 95 % or more and node.cpu.utilisation before the change is below 95 %",
    ),
    (f"symptom.slow && {CPU} < 0.5", "requests are slow and node.cpu.utilisation is below 50 %"),
    ('"http.rps" in falling || callees.slow', "http.rps is falling or a service that it calls is slow"),
]


@pytest.mark.parametrize(("expression", "words"), CASES)
def test_in_words(expression: str, words: str) -> None:
    """Signal, how it is compared, and with what, in its unit."""
    assert in_words(expression, UNITS) == words


def test_what_does_not_hold_is_said_without_a_not() -> None:
    """What is so instead; of several, that one of them is."""
    both = f'{CPU} >= 0.95 && !symptom.slow && signals["pg.locks.waiting"] == 0.0'
    assert in_words(both, UNITS, negated=True) == (
        "node.cpu.utilisation is below 95 % or requests are slow or pg.locks.waiting is not 0"
    )


@pytest.mark.parametrize(("measured", "signal"), [([ROWS], ROWS), ([], "pg.tup_returned.rate")])
def test_of_two_ways_to_see_it_the_one_that_there_is_is_told(measured: list[str], signal: str) -> None:
    """Nobody reads of a signal that is not measured."""
    condition = shipped()[0].by_id["pg-effective-cache-size"].rule.verification.condition
    assert in_words(condition, UNITS, measured) == f"{signal} is 50 % of what it was before the change or less"


@pytest.mark.parametrize(
    "expression", ['latest["deploy"].age_s >= 0.0', 'slope["http.rps"] > 0.0', f"{CPU} * 2.0 > 1.0", "true ? a : b"]
)
def test_what_has_no_words_is_quoted(expression: str) -> None:
    """Rules of people's own may ask for anything."""
    assert in_words(expression, UNITS) == f"`{expression}` holds"
    assert in_words(expression, UNITS, negated=True) == f"`{expression}` does not hold"


def test_every_shipped_verification_has_words() -> None:
    """Nobody is shown an expression of the shipped catalogue."""
    for entry in shipped()[0].rules:
        check = entry.rule.verification
        for expression in filter(None, (check.condition, check.abort_if)):
            assert "`" not in in_words(expression, UNITS), entry.rule.id
