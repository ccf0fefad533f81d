"""How the log is cut into polls leaves no trace, neither in the outputs nor in the state."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.online.bank import BankSettings
from pipeline.batch import encode_batch, make_batch
from pipeline.detect.detectors.watch import WatchedSeries
from pipeline.stage import LogRecord
from tests.builders import START, Row, cut, samples, series
from tests.detect.drive import FRAME_MS, detect_stage, log, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.detect.stage import DetectStage
    from pipeline.series import Series

BUDGET = 4


def crowd() -> list[LogRecord]:
    """Three hours of more series than there is room for, of which some pause; records reach into the next frame."""
    names = [series("queue_depth", service=f"s{number % 3}", instance=str(number)) for number in range(6)]
    scrapes: list[list[Row]] = []
    for minute in range(180):
        at = START + minute * FRAME_MS
        there = [one for number, one in enumerate(names) if (minute // (number + 2)) % 3 or number == 5]
        level = 500.0 if 120 <= minute < 125 else 10.0
        for half in (0, 30_000):
            rows = [(one, at + half + place, level + minute % 5) for place, one in enumerate(there)]
            # What was seen is seen again, a frame later and without its labels.
            scrapes.append(rows + [(one, at + half + FRAME_MS, level) for one in there[:2]])
    return log(scrapes)


def run(pieces: Iterable[Sequence[LogRecord]], **settings: Any) -> tuple[list[tuple[Any, ...]], DetectStage]:
    """Outputs of a stage that is given the log in these pieces, and the stage."""
    stage = detect_stage(**settings)
    return written(output for piece in pieces for output in stage.step(piece)), stage


def frozen(stage: DetectStage) -> dict[str, bytes]:
    """The stage's snapshot as bytes."""
    return {name: part if isinstance(part, bytes) else part.tobytes() for name, part in stage.snapshot().items()}


@cache
def at_once() -> tuple[list[LogRecord], list[tuple[Any, ...]], dict[str, bytes]]:
    """The crowd's log, and what one poll for all of it makes."""
    history = crowd()
    outputs, stage = run([history], max_series=BUDGET, series_idle_s=600.0)
    assert stage.statistics()["series_refused_total"] > 0
    return history, outputs, frozen(stage)


def check(pieces: Iterable[Sequence[LogRecord]]) -> None:
    _, outputs, state = at_once()
    again, stage = run(pieces, max_series=BUDGET, series_idle_s=600.0)
    assert again == outputs
    assert frozen(stage) == state


def test_full_registry_one_by_one_equals_all_at_once() -> None:
    """Who is modelled when there is not room for all does not depend on polls."""
    check([record] for record in at_once()[0])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=12))
def test_full_registry_at_any_cut(places: list[int]) -> None:
    """Wherever the polls end, outputs and state are the same bytes."""
    check(cut(at_once()[0], places))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 400))
def test_full_registry_restored_anywhere(place: int) -> None:
    """A snapshot knows who was refused so far in its frame."""
    history, outputs, state = at_once()
    head, stage = run(cut(history, [place])[:1], max_series=BUDGET, series_idle_s=600.0)
    resumed = detect_stage(max_series=BUDGET, series_idle_s=600.0)
    resumed.restore(stage.snapshot())
    tail = written(output for piece in cut(history, [place])[1:] for output in resumed.step(piece))
    assert head + tail == outputs
    assert frozen(resumed) == state


@pytest.mark.parametrize("size", [1, 200])
def test_refusals_are_counted_once_a_frame(size: int) -> None:
    """A series that is refused in every record of a frame asks for one place, not for one each poll."""
    rows = [(series("queue_depth", instance=str(number)), START + number, 1.0) for number in range(6)]
    history = log([[(one, at + scrape * 10, value) for one, at, value in rows] for scrape in range(20)])
    closing = samples(20, [(rows[0][0], START + 2 * FRAME_MS, 1.0)])
    stage = detect_stage(max_series=BUDGET)
    for start in range(0, len(history), size):
        stage.step(history[start : start + size])
    assert stage.statistics()["series_refused_total"] == 2
    stage.step([closing])
    # Two made room for the two that were refused.
    assert stage.statistics()["series"] == BUDGET - 2


def test_what_follows_an_alarm_within_a_poll_needs_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a series that alarms here is part of its anomaly; other series are not."""
    alarm = np.array([False, True, False, False, False])
    scored = (np.arange(5), SimpleNamespace(alarm=alarm))
    monkeypatch.setattr(WatchedSeries, "score", lambda *_: scored)
    watched = WatchedSeries(BankSettings())
    watched.grow(2)
    slots = np.array([1, 0, 1, 0, 0], dtype=np.int32)
    assert watched.judge(slots, np.arange(5), np.ones(5)).rows.tolist() == [1, 3, 4]


def bare(offset: int, one: Series, ts: int) -> LogRecord:
    """A record whose only row has no labels."""
    whole = samples(offset, [(one, ts, 1.0)])
    batch = make_batch(np.array([one.identity()], np.uint64), np.array([ts]), np.array([1.0]), [None])
    return LogRecord(whole.topic, 0, offset, ts, None, encode_batch(batch), whole.headers)


def test_rows_before_a_series_is_known_are_not_its_own() -> None:
    """A row that came without labels is dropped, whether or not the labels follow within the poll."""
    one = series("queue_depth")
    history = [bare(0, one, START), samples(1, [(one, START + 1000, 2.0)])]
    whole, stage = run([history])
    split, other = run([record] for record in history)
    assert whole == split
    assert frozen(stage) == frozen(other)
    assert stage.statistics()["unmodelled_samples_total"] == 1
    assert stage.statistics()["detect_samples_total"] == 1
