"""The live view in a terminal, and plain lines where there is none.

    with open_view(console, title) as view:
        view.board.total = …            # the views read the board; records and progress go in through it
        view.show(record)
        view.refresh()

On a terminal the board is drawn four times a second; elsewhere (a pipe, a log) each record is a line, and the progress
a line now and then, in the order of event time where the board says how far that has come.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline import quantities as fmt
from pipeline.records import Anomaly, AnomalyState, Recommendation
from pipeline.views import words
from pipeline.views.board import Board
from pipeline.views.prose import wrapped

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console, RenderableType

    from pipeline.records import Record

_FRAMES_PER_S = 4
_WIDE = 100
_LINES_BESIDE_LISTS = 9
_LINE_WIDTH = 100
_LINE_DEEPER = 6


class View(Protocol):
    """A view that is open; `board` is what it shows."""

    board: Board

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def show(self, record: Record) -> None:
        """Take one record from an output topic."""
        ...

    def refresh(self) -> None:
        """The board's progress has changed."""
        ...


def open_view(console: Console, title: str) -> View:
    """A live view where the console is a terminal, lines where it is not."""
    return (
        LiveView(console, title) if console.is_terminal and not console.is_dumb_terminal else LineView(console, title)
    )


class LineView:
    """Each anomaly that opens, each recommendation and each tenth of the progress as a line.

    Stages run one after the other, so advice arrives behind anomalies of hours later; lines wait for what belongs
    before them, as long as `board.through` has not reached their time.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.board = Board()
        self._console = console
        self._title = title
        self._status = ""
        self._said: tuple[int, int] = (0, 0)
        self._waiting: list[tuple[datetime, int, str]] = []
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        self._print(self._title)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.board.done != self._said[1]:
            self._progress()
        self._tell(None)

    def show(self, record: Record) -> None:
        """Print it where it is news: an anomaly that opens or turns out to be ahead, advice that is new."""
        news = self._is_news(record)
        self.board.show(record)
        text = words.line(record)
        if news and text is not None:
            self._queue(_moment(record), text.plain)

    def _is_news(self, record: Record) -> bool:
        if isinstance(record, Recommendation):
            return record.id not in self.board.recommendations
        if not isinstance(record, Anomaly):
            return False
        known = self.board.anomalies.get(record.id)
        return known is None or (known.lead_s is None and record.lead_s is not None)

    def refresh(self) -> None:
        """Print a new status, and the progress when a tenth has passed."""
        if self.board.status != self._status:
            self._status = self.board.status
            if self._status:
                self._print(self._status)
        if self.board.total and self.board.done * 10 // self.board.total > self._said[0]:
            self._progress()
        if self.board.through is not None:
            self._tell(self.board.through)

    def _progress(self) -> None:
        if self.board.total:
            self._said = self.board.done * 10 // self.board.total, self.board.done
            self._queue(self.board.moment, _progress_words(self.board).plain)

    def _queue(self, moment: datetime | None, text: str) -> None:
        if moment is None or self.board.through is None:
            self._print(text)
        else:
            heapq.heappush(self._waiting, (moment, next(self._numbers), text))

    def _tell(self, through: datetime | None) -> None:
        """Print what waits, up to this time; all of it where there is none."""
        while self._waiting and (through is None or self._waiting[0][0] <= through):
            self._print(heapq.heappop(self._waiting)[2])

    def _print(self, text: str) -> None:
        # Off a terminal the console guesses 80; more is somebody's wish (COLUMNS).
        width = self._console.width if self._console.is_terminal else max(_LINE_WIDTH, self._console.width)
        self._console.out(wrapped(text, width, deeper=_LINE_DEEPER), highlight=False)


def _moment(record: Record) -> datetime | None:
    """Event time at which it was last said."""
    if isinstance(record, Recommendation):
        return record.updated
    return record.last_at if isinstance(record, Anomaly) else None


class LiveView:
    """The board drawn in place: progress, newest anomalies, newest recommendations."""

    def __init__(self, console: Console, title: str) -> None:
        self.board = Board()
        self._console = console
        self._title = title
        self._live = Live(
            console=console,
            get_renderable=lambda: render(self.board, self._title, console.width, console.height),
            refresh_per_second=_FRAMES_PER_S,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, record: Record) -> None:
        """Put it on the board; it is drawn with the next frame."""
        self.board.show(record)

    def refresh(self) -> None:
        """Nothing to do: the view draws itself."""


def render(board: Board, title: str, width: int, height: int) -> RenderableType:
    """The board for a terminal of this size, in columns and lines."""
    room = max(6, height - _LINES_BESIDE_LISTS)
    advice = board.newest_recommendations(max(1, room * 2 // 5 // 3))
    anomalies = board.newest_anomalies(max(3, room - 3 * len(advice)))
    return Group(
        Text(title, "bold"),
        _progress_bar(board, width),
        Text(),
        _heading("Anomalies", f"{board.found} found, {board.open_anomalies} open"),
        _anomaly_table(anomalies, wide=width >= _WIDE),
        Text(),
        _heading("Recommendations", str(board.advised)),
        *(_advice(one) for one in advice),
    )


def _heading(name: str, note: str) -> Text:
    return Text(name, "bold cyan").append(f"  {note}", "dim")


def _progress_bar(board: Board, width: int) -> RenderableType:
    if not board.total:
        return Text(board.status, "dim")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=max(16, width // 4))
    grid.add_column(no_wrap=True)
    grid.add_row(ProgressBar(total=board.total, completed=board.done), _progress_words(board))
    return grid


def _progress_words(board: Board) -> Text:
    text = Text(f"{100 * board.done / board.total:.0f} %" if board.total else "", "bold")
    if board.moment is not None:
        text.append(f"  {fmt.clock(board.moment)}", "cyan")
    text.append(f"  {fmt.scaled(board.done)} samples")
    if board.rate:
        text.append(f"  {fmt.scaled(board.rate)}/s", "dim")
    return text.append(f"  {board.status}" if board.status else "", "dim")


def _anomaly_table(anomalies: list[Anomaly], *, wide: bool) -> Table:
    """Eighty columns have room for one detector, and for one column of values."""
    table = Table(box=None, padding=(0, 2 if wide else 1, 0, 0), header_style="dim", expand=True)
    table.add_column("time", no_wrap=True)
    table.add_column("service", no_wrap=True, overflow="ellipsis")
    table.add_column("signal", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in ("observed", "expected") if wide else ("seen (expected)",):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("flagged by", no_wrap=True, overflow="ellipsis")
    table.add_column("ahead", justify="right", no_wrap=True)
    for one in anomalies:
        observed, expected = fmt.value(one.observed, one.unit), fmt.value(one.expected, one.unit)
        table.add_row(
            fmt.clock(one.opened_at) if wide else f"{one.opened_at:%H:%M}",
            one.service,
            Text(one.signal, words.SEVERITY_STYLE[one.severity]),
            *((observed, expected) if wide else (f"{observed} ({expected})",)),
            words.detectors(one, short=not wide),
            words.ahead(one),
            style="dim" if one.state is AnomalyState.CLOSED else "",
        )
    return table


def _advice(one: Recommendation) -> RenderableType:
    head = Text(no_wrap=True, overflow="ellipsis").append(f"{fmt.clock(one.created)}  ")
    head.append(f"{words.subject(one)}: ", "bold").append(words.change(one))
    head.append(f"  {fmt.percent(one.confidence)} sure", "dim")
    why = Text(f"           why   {one.why.reason}", no_wrap=True, overflow="ellipsis")
    undo = Text(f"           undo  {words.undo(one)}", "dim", no_wrap=True, overflow="ellipsis")
    return Group(head, why, undo)
