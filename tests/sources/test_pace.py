from __future__ import annotations

from pipeline.sources.pace import Pace


def test_nothing_more_while_too_much_is_on_its_way():
    """The bound holds whatever the speed."""
    assert Pace(ahead=100, least=10.0).wait(201, 100, now=0.0) is None
    assert Pace(ahead=100, least=10.0).wait(200, 100, now=0.0) is not None


def test_begins_at_the_least_speed():
    """While nothing has come out, at the speed given."""
    pace = Pace(ahead=10_000, least=100.0)
    assert pace.wait(50, 0, now=0.0) == 0.5
    assert pace.wait(150, 0, now=0.5) == 1.0


def test_goes_a_little_faster_than_what_comes_out():
    """1000 a second came out, so 1300 a second may go in."""
    pace = Pace(ahead=10_000, least=100.0)
    pace.wait(100, 100, now=10.0)
    wait = pace.wait(100 + 1300, 1000, now=20.0)
    assert wait == 1300 / (1.3 * 1000 / 10)


def test_no_burst_after_a_pause():
    """What was not published during a wait is not made up for at once."""
    pace = Pace(ahead=10_000, least=100.0)
    pace.wait(100, 0, now=0.0)
    assert pace.wait(200, 0, now=60.0) == 1.0
