"""Span metrics that say who calls whom."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.configfile import shipped_config
from pipeline.signals.calls import CallRate, CallRates
from pipeline.signals.definitions import load_definitions
from pipeline.signals.store import SeriesStore
from tests.builders import START, series

NAME = "traces_service_graph_request_total"


def counted(*pairs: tuple[str, str, float]) -> tuple[CallRates, SeriesStore]:
    """Counters of these calls, at so many a second over a minute."""
    calls = CallRates(load_definitions(shipped_config()).calls)
    store = SeriesStore(100, 300_000)
    for number, (client, server, rate) in enumerate(pairs):
        one = series(NAME, "tempo", client=client, server=server, instance=str(number))
        slot = store.add(one.identity(), one)
        calls.add(slot, one, 0)
        ts = np.array([START, START + 60_000], dtype=np.int64)
        store.advance(np.full(2, slot, dtype=np.int32), ts, np.array([5.0, 5.0 + 60 * rate]), 0)
    return calls, store


def test_rate_by_pair() -> None:
    """Instances of one pair add up; pairs are sorted."""
    calls, store = counted(("shop", "mail", 2.0), ("shop", "mail", 3.0), ("front", "shop", 1.0))
    assert calls.evaluate(store.rows) == {0: [CallRate("front", "shop", 1.0), CallRate("shop", "mail", 5.0)]}


@pytest.mark.parametrize("pair", [("user", "shop", 1.0), ("", "shop", 1.0), ("shop", "shop", 1.0), ("a", "b", 0.0)])
def test_what_is_no_call_between_services(pair: tuple[str, str, float]) -> None:
    """Callers from outside, a service that calls itself, and counters that stand still tell of no call."""
    calls, store = counted(pair)
    assert calls.evaluate(store.rows) == {}


def test_series_that_are_gone() -> None:
    """A removed series counts no more."""
    calls, store = counted(("a", "b", 1.0), ("a", "c", 1.0))
    calls.remove({0})
    assert calls.evaluate(store.rows) == {0: [CallRate("a", "c", 1.0)]}


def test_series_that_moved() -> None:
    """After the store moved its series together each counts for its pair still."""
    calls, store = counted(("a", "b", 1.0), ("a", "c", 2.0))
    calls.remove({0})
    calls.renumber({1: 0})
    store.rows[0] = store.rows[1]
    assert calls.evaluate(store.rows) == {0: [CallRate("a", "c", 2.0)]}


def test_other_series_are_none_of_it() -> None:
    """Only the counters that the configuration names."""
    calls = CallRates(load_definitions(shipped_config()).calls)
    assert not calls.add(0, series("http_requests_total", "a", client="a", server="b"), 0)
