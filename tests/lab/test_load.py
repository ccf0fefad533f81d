"""Users' requests go to replicas in turn, or to the one that has the fewest under way."""

from __future__ import annotations

from contextlib import ExitStack

from lab.load import Balancer


def balancer(*, least_connections: bool) -> Balancer:
    found = Balancer()
    found.urls, found.least_connections = ["a", "b", "c"], least_connections
    return found


def chosen(one: Balancer) -> str:
    with one.chosen() as url:
        return url


def test_in_turn_a_slow_replica_gets_as_much_as_the_others() -> None:
    one = balancer(least_connections=False)
    with ExitStack() as held:
        slow = held.enter_context(one.chosen())
        assert [chosen(one) for _ in range(6)].count(slow) == 2


def test_least_connections_spares_a_replica_that_does_not_answer() -> None:
    one = balancer(least_connections=True)
    with ExitStack() as held:
        slow = held.enter_context(one.chosen())
        assert slow not in {chosen(one) for _ in range(6)}


def test_least_connections_spreads_over_idle_replicas() -> None:
    """All of them have nothing under way: the first must not get everything."""
    one = balancer(least_connections=True)
    assert {chosen(one) for _ in range(3)} == {"a", "b", "c"}
