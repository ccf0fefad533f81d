"""Users' requests go to replicas in turn, or to the one that has the fewest under way."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest
import yaml

from lab.configuration import scaled_config
from lab.load import Balancer, Load
from lab.scenarios import SCENARIOS, Scenario


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


def test_users_come_one_after_the_other_and_leave_at_once() -> None:
    """All in one moment they would be a surge of their own."""

    async def asked_at() -> tuple[list[float], int]:
        nobody = Balancer()
        nobody.urls = ["http://127.0.0.1:9"]
        load = Load({"duri_core": nobody, "duri_brain": nobody}, Scenario("test", 50, (0.2, 0.2), 1.0, 1.0))
        await asyncio.sleep(load.coming_s)
        load.multiply(0.0)
        await asyncio.sleep(0.1)  # who was asking a moment ago has been told
        left = len(load.latencies)
        await asyncio.sleep(0.4)
        return [at for at, *_ in load.latencies], len(load.latencies) - left

    times, late = asyncio.run(asked_at())
    assert 0 < sum(at < times[0] + 0.3 for at in times) < 40
    assert late == 0


def test_request_rates_that_are_asked_grow_with_the_load() -> None:
    """What the least asked service gets is far above the scaled objective, whatever the load."""
    for one in SCENARIOS.values():
        with scaled_config(one) as folder:
            rules = yaml.safe_load((folder / "thresholds.yaml").read_text(encoding="utf-8"))["rules"]
        assert rules["objective_rps"]["below"] == pytest.approx(one.least_rps / 4)
        assert rules["http_latency_p95_warning"]["above"] == 0.5
