from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from pipeline.records import AnomalyState, Detector
from pipeline.views.board import Board
from pipeline.views.progress import sample_progress
from pipeline.views.terminal import LineView, LiveView, open_view, render
from tests.views.fakes import anomaly, at, recommendation


def drawn(board: Board, width: int, height: int) -> str:
    out = StringIO()
    Console(file=out, width=width, height=height).print(render(board, "title", width, height))
    return out.getvalue()


def filled(n: int) -> Board:
    board = Board(total=1000, done=250, rate=50.0, moment=at(0))
    for number in range(n):
        board.show(anomaly(f"a{number}", number, lead_s=2280.0))
        board.show(recommendation(f"r{number}", number))
    return board


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 15), (200, 60)])
def test_board_fits_the_terminal(width, height):
    """No line is wider and there are no more lines than there is room for, however much was found."""
    lines = drawn(filled(100), width, height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


def test_board_shows_progress_and_newest_first():
    """Share, event time, the newest anomaly on top, what to change, why, how sure, how to undo."""
    text = drawn(filled(30), 120, 40)
    assert "25 %" in text
    assert "Tue 12:00" in text
    assert text.index("Tue 12:29") < text.index("Tue 12:28")
    for piece in ("720 ms", "160 ms", "learned", "38 min", "pool_size 20 → 40", "82 % sure", "why", "DB_POOL_SIZE=20"):
        assert piece in text


def test_board_counts_what_is_open():
    """Closed ones count as found."""
    board = Board()
    board.show(anomaly("a"))
    board.show(anomaly("b"))
    board.show(anomaly("a", state=AnomalyState.CLOSED))
    assert (board.found, board.open_anomalies) == (2, 1)


def test_board_is_bounded():
    """It keeps the newest; the count goes on."""
    board = filled(500)
    assert len(board.anomalies) == 200
    assert board.found == 500


def test_a_terminal_gets_the_live_view_and_a_pipe_gets_lines():
    """By what the console is."""
    assert isinstance(open_view(Console(file=StringIO(), force_terminal=True), "t"), LiveView)
    assert isinstance(open_view(Console(file=StringIO()), "t"), LineView)


def test_lines_as_they_happen():
    """Each opening and each recommendation once, progress by tenths, no control characters."""
    out = StringIO()
    with LineView(Console(file=out, width=200), "DuRi demo") as view:
        view.board.total = 1000
        both = [(Detector.LEARNED, 0.0), (Detector.STATIC, 38.0)]
        view.show(anomaly("a"))
        view.show(anomaly("a", state=AnomalyState.UPDATED))
        view.show(anomaly("a", detectors=both, state=AnomalyState.CLOSED, lead_s=2280.0))
        view.show(recommendation("r"))
        view.show(recommendation("r"))
        for done in range(0, 1001, 20):
            view.board.done = done
            view.refresh()
    text = out.getvalue()
    assert "\x1b" not in text
    assert text.count("duri_core http.latency.p95 720 ms (expected 160 ms)") == 2
    assert "38 min ahead of the static rule" in text
    assert text.count("pool_size 20 → 40") == 1
    assert 10 <= text.count(" samples") <= 12


def test_lines_wait_for_what_belongs_before_them():
    """Advice arrives behind anomalies of hours later: it is told at its time, and at the end nothing is missing."""
    out = StringIO()
    with LineView(Console(file=out), "DuRi demo") as view:
        view.board.through = at(0)
        view.show(anomaly("late", 50, service="shop"))
        view.show(anomaly("early", 5, service="cart"))
        view.show(recommendation("r", 10))
        view.refresh()
        assert "cart" not in out.getvalue()
        view.board.through = at(20)
        view.refresh()
        told = out.getvalue()
        assert told.index("cart") < told.index("pool_size 20")
        assert "shop" not in told
    assert "shop" in out.getvalue()


def test_lines_fit_a_hundred_columns():
    """However long the reason; commands stay whole words."""
    out = StringIO()
    with LineView(Console(file=out), "DuRi demo") as view:
        why = recommendation("r").why.model_copy(update={"reason": "all connections are in use and " * 9})
        view.show(recommendation("r").model_copy(update={"why": why}))
    assert max(map(len, out.getvalue().splitlines())) <= 100
    assert " ".join(out.getvalue().split()).count("all connections are in use and") == 9


def test_live_view_leaves_no_colours_where_none_are_wanted(monkeypatch):
    """NO_COLOR is honoured: the board is drawn without colour codes."""
    monkeypatch.setenv("NO_COLOR", "1")
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30)
    with LiveView(console, "DuRi demo") as view:
        view.board.total = 100
        view.show(anomaly("a"))
    assert "\x1b[33m" not in out.getvalue()
    assert "http.latency.p95" in out.getvalue()


def test_progress_without_a_terminal_is_a_line_a_tenth():
    """Not one for every report."""
    out = StringIO()
    with sample_progress(Console(file=out, width=100), 1000) as report:
        for done in range(1, 1001):
            report(done)
    lines = out.getvalue().splitlines()
    assert 9 <= len(lines) <= 11
    assert lines[-1].startswith("100 %")
