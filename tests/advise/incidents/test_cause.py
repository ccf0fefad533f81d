"""The service graph, the ranking of causes, and the history that references come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.advise.frames import Frame, SignalValue, Source
from pipeline.advise.history import History
from pipeline.advise.incidents.cause import HARM_SIGNALS, Harm, credible, measure, rank_causes, unexplained
from pipeline.advise.incidents.topology import Topology, load_topology
from pipeline.configfile import shipped_config
from pipeline.errors import SettingsError
from tests.advise.helpers import at

if TYPE_CHECKING:
    from pathlib import Path

CHAIN = Topology({"front": ["middle"], "middle": ["back", "side"]})


def test_shipped_topology() -> None:
    """DuRi's four services hang together, in one system."""
    graph = load_topology(shipped_config() / "topology.yaml")
    assert {"duri_core", "duri_control", "duri_brain", "duri_evolution"} <= set(graph.services)
    assert graph.system_of("duri_core") == graph.system_of("stranger") == "default"
    assert "duri_brain" in graph.callees("duri_core")


def test_systems_of_connected_parts(tmp_path: Path) -> None:
    """With `connected`, a system is named after its first service, unless a service names its own."""
    path = tmp_path / "topology.yaml"
    path.write_text("systems: connected\nservices:\n  b: {calls: [a]}\n  c: {}\n  d: {system: own}\n")
    graph = load_topology(path)
    assert [graph.system_of(name) for name in "abcd"] == ["a", "a", "c", "own"]


def test_topology_mistake_names_the_line(tmp_path: Path) -> None:
    """A misspelt key is an error with its line."""
    path = tmp_path / "topology.yaml"
    path.write_text("services:\n  b:\n    cals: [a]\n")
    with pytest.raises(SettingsError, match=r"topology\.yaml:3"):
        load_topology(path)


def test_groups_and_reach() -> None:
    """Groups need direct calls among themselves; reach follows calls, nearest first."""
    assert CHAIN.groups(["front", "back", "side"]) == [["back"], ["front"], ["side"]]
    assert CHAIN.groups(["front", "middle", "back", "alone"]) == [["alone"], ["back", "front", "middle"]]
    assert CHAIN.reach(["front"], 10) == ["front", "middle", "back", "side"]
    assert CHAIN.reach(["front"], 2) == ["front", "middle"]


def test_unexplained_harm_is_the_notes_formula() -> None:
    """U = max(0, E - what the callees explain)."""
    added = {"front": 100.0, "middle": 90.0, "back": 85.0}
    assert unexplained(added, CHAIN) == {"front": 10.0, "middle": 5.0, "back": 85.0}


def harm_of(
    window: list[dict[str, float]], healthy: list[dict[str, float]], usual: dict[str, float] | None = None
) -> Harm:
    """Harm of a service with these intervals."""

    def columns(rows: list[dict[str, float]]) -> np.ndarray:
        return np.array([[row.get(name, np.nan) for name in HARM_SIGNALS] for row in rows]).reshape(
            -1, len(HARM_SIGNALS)
        )

    return measure(columns(window), columns(healthy), usual or {}, 60.0)


HEALTHY = {"http.latency.mean": 0.2, "http.rps": 10.0, "http.error_ratio": 0.0}


def test_harm_is_weighed_by_requests() -> None:
    """Seconds added and calls failed, each times the requests of the window."""
    harm = harm_of([{**HEALTHY, "http.latency.mean": 0.5, "http.error_ratio": 0.1}], [HEALTHY] * 10)
    assert harm.seconds == pytest.approx(180.0)
    assert harm.failures == pytest.approx(60.0)
    assert harm.lost == pytest.approx(240.0)
    assert not harm.guessed


def test_mean_latency_goes_before_quantiles() -> None:
    """The mean adds up along calls; a quantile stands in where there is no mean."""
    both = {**HEALTHY, "http.latency.p95": 1.0}
    assert harm_of([{**both, "http.latency.p95": 9.0}], [both] * 10).seconds == 0.0
    only = {"http.latency.p95": 1.0, "http.rps": 10.0}
    assert harm_of([{**only, "http.latency.p95": 2.0}], [only] * 10).seconds == pytest.approx(600.0)


def test_without_requests_there_is_no_harm() -> None:
    """Latency without any rate weighs nothing."""
    slow, fast = {"http.latency.mean": 5.0}, {"http.latency.mean": 0.1}
    assert harm_of([slow], [fast] * 10).lost == 0.0


def test_usual_requests_stand_in_and_cap_certainty() -> None:
    """Where the count of this window is missing the usual one is taken, and that is said."""
    harm = harm_of([{"http.latency.mean": 0.5}], [HEALTHY] * 10)
    assert harm.seconds == pytest.approx(180.0)
    assert harm.guessed
    assert rank_causes({"front": harm}, CHAIN)[0].certainty == pytest.approx(0.6)


def test_little_history_compares_with_what_was_expected() -> None:
    """A service that is new has no healthy hours; the expectation stands in."""
    harm = harm_of([{**HEALTHY, "http.latency.mean": 0.5}], [HEALTHY], {"http.latency.mean": 0.2})
    assert harm.seconds == pytest.approx(180.0)


def test_excess_within_its_own_scatter_is_noise() -> None:
    """A service that swings by a third every minute does no harm by swinging."""
    swinging = [{**HEALTHY, "http.latency.mean": 0.2 + 0.1 * (-1) ** minute} for minute in range(20)]
    assert harm_of([{**HEALTHY, "http.latency.mean": 0.35}], swinging).lost == 0.0


@pytest.mark.parametrize(
    ("failed", "requests", "real"), [(1, 20, False), (2, 20, True), (1, 200, False), (12, 2000, True)]
)
def test_failures_of_few_calls_are_tested_as_counts(failed: int, requests: int, real: bool) -> None:
    """One of twenty may be chance where one of a thousand fails; two of twenty are not."""
    assert credible(failed, requests, 0.001) is real


def test_forwarding_service_ties_and_loses() -> None:
    """Of two that tie, the one behind is the cause."""
    harms = {"middle": Harm(seconds=200.0), "back": Harm(seconds=100.0)}
    assert rank_causes(harms, CHAIN)[0].service == "back"


def test_caller_that_gives_up_on_a_slow_callee_is_explained() -> None:
    """Failures upstream of a service that hangs are not the caller's own."""
    harms = {"middle": Harm(failures=50.0), "back": Harm(seconds=80.0)}
    assert rank_causes(harms, CHAIN)[0].service == "back"


def test_tie_over_an_unknown_call_goes_to_who_is_slowed_more() -> None:
    """Where the graph lacks a call, caller and callee count the same harm; it weighs more on the callee."""
    harms = {"back": Harm(seconds=100.0, severity=0.5), "side": Harm(seconds=80.0, severity=3.0)}
    ranked = rank_causes(harms, CHAIN, complete=False)
    assert [cause.service for cause in ranked] == ["side", "back"]
    assert ranked[0].certainty <= 0.6
    assert rank_causes(harms, CHAIN)[0].service == "back"


def test_no_harm_ranks_nobody() -> None:
    """Where no request suffers, the ranking has no opinion."""
    assert rank_causes({"front": Harm()}, CHAIN) == []


@pytest.mark.parametrize(("others", "certainty"), [([], 1.0), ([25.0], 1.0), ([100.0], 0.4688), ([90.0] * 3, 0.3889)])
def test_certainty_follows_share_and_margin(others: list[float], certainty: float) -> None:
    """A cause with most of the unexplained harm is sure; one of several that are as bad is a coin toss."""
    harms = {f"other-{number}": Harm(seconds=seconds) for number, seconds in enumerate(others)}
    ranked = rank_causes({"front": Harm(seconds=100.0, severity=9.0), **harms}, CHAIN)
    assert ranked[0].service == "front"
    assert ranked[0].certainty == pytest.approx(certainty, abs=1e-3)


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_fault_at_any_depth_of_a_tree_comes_first(size: int, seed: int) -> None:
    """A callee's delay is passed on to all its callers; the one that adds it is found."""
    random = np.random.default_rng(seed)
    parents = {node: int(random.integers(0, node)) for node in range(1, size)}
    graph = Topology({str(n): [str(c) for c, p in parents.items() if p == n] for n in range(size)})
    fault = int(random.integers(0, size))
    harms, node, seconds = {}, fault, 100.0
    while True:
        harms[str(node)] = Harm(seconds=seconds * float(random.uniform(1.0, 1.05)))
        if node == 0:
            break
        node = parents[node]
    assert rank_causes(harms, graph)[0].service == str(fault)


# --- history --------------------------------------------------------------------------------------------------


def frame(service: str, minute: int, **values: float) -> Frame:
    """A frame with these signals."""
    return Frame(
        service=service,
        start=at(minute),
        end=at(minute + 1),
        signals={name: SignalValue(value) for name, value in values.items()},
        settings={},
        source=Source("duri.samples", 0, minute),
    )


def taught(history: History, minutes: range, *services: str) -> History:
    """The history after these minutes of a rising signal `x` and a constant one `y`."""
    for minute in minutes:
        history.learn((minute + 1) * 60_000, [frame(name, minute, x=float(minute), y=3.0) for name in services])
    return history


def test_usual_is_the_median_before() -> None:
    """What came at or after the moment does not count."""
    history = taught(History(["x", "y"], 60_000, 60, 10), range(40), "a")
    assert history.usual("a", 21 * 60_000) == {"x": 10.0, "y": 3.0}
    assert history.usual("a", 3 * 60_000) == {}
    assert history.usual("b", 21 * 60_000) == {}


def test_trend_of_a_line_and_of_a_constant() -> None:
    """A line is steady with its slope; a constant goes nowhere."""
    trends = taught(History(["x", "y"], 60_000, 60, 10), range(40), "a").trends("a", ["x", "y"])
    assert trends["x"].slope == pytest.approx(1 / 60)
    assert trends["x"].steadiness == pytest.approx(1.0)
    assert (trends["y"].slope, trends["y"].steadiness) == (0.0, 0.0)


def test_peaks_outlive_the_ring_for_a_week() -> None:
    """A peak is kept beyond the ring, and forgotten after two weeks."""
    history = History(["x"], 60_000, 10, 10)
    history.learn(60_000, [frame("a", 0, x=1000.0)])
    taught(history, range(1, 100), "a")
    assert history.peaks("a") == {"x": 1000.0}
    for minute in (10_100, 20_200, 30_300):
        history.learn((minute + 1) * 60_000, [frame("a", minute, x=1.0)])
    assert history.peaks("a") == {"x": 1.0}


def test_gaps_are_gaps() -> None:
    """Intervals that never came are absent, not what stood in the ring before."""
    history = taught(History(["x", "y"], 60_000, 12, 10), range(12), "a")
    taught(history, range(20, 23), "a")
    assert history.usual("a", 23 * 60_000) == {}


def test_the_longest_unseen_service_makes_room() -> None:
    """The rows are bounded, and a reused row has nothing of its former service."""
    history = taught(History(["x"], 60_000, 20, 2), range(10), "a", "b")
    taught(history, range(10, 18), "b", "c")
    assert len(history) == 2
    assert history.usual("a", 10**9) == {}
    assert history.usual("c", 18 * 60_000) == {"x": 13.5}


def test_rows_grow() -> None:
    """More services than the first rows keep what was learned."""
    history = taught(History(["x"], 60_000, 10, 1000), range(6), "first")
    taught(history, range(6, 12), "first", *(f"s{number}" for number in range(100)))
    assert len(history) == 101
    assert history.usual("first", 12 * 60_000) == {"x": 6.5}


def test_snapshot_and_restore() -> None:
    """The same answers afterwards, columns matched by name."""
    history = taught(History(["x", "y"], 60_000, 20, 10), range(15), "a", "b")
    other = History(["y", "z"], 60_000, 20, 10)
    other.restore(history.snapshot())
    assert other.usual("a", 10**9) == {"y": 3.0}
    assert other.peaks("b") == {"y": 3.0}
