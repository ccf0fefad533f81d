"""Records written as they come: JSON lines for programs, lines in words above a status line for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from rich.status import Status
from rich.text import Text

from pipeline import quantities as fmt
from pipeline.records import Anomaly, AnomalyState, Recommendation
from pipeline.views import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipeline.records import Detector, Record, Severity
    from pipeline.views.pulse import Seen

    _Gist = tuple[Severity, frozenset[Detector]]


class RecordStream(Protocol):
    """Something that records are written to while it is open."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def show(self, records: Sequence[Record], *, unreadable: int) -> None:
        """Write these; `unreadable` is how many could not be read so far in all."""
        ...

    def beat(self, seen: Seen | None) -> None:
        """Take what is known of the samples now."""
        ...


class JsonStream:
    """One line of JSON a record: the record's kind beside its fields."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._out.flush()

    def show(self, records: Sequence[Record], *, unreadable: int) -> None:  # noqa: ARG002  for people only
        """Write and flush, so that a pipe's reader sees each at once."""
        for record in records:
            self._out.write(f'{{"record":"{record.kind_name}",{record.model_dump_json()[1:]}\n')
        if records:
            self._out.flush()

    def beat(self, seen: Seen | None) -> None:
        """Nothing: a program asks for records."""


class WordStream:
    """A line a record, above a line that says what was seen so far, and whether samples come.

    Off a terminal that line is left out; whether samples come is said there when it changes. An anomaly that is
    reported again as severe as before, by the same detectors, has no new line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seen: Counter[str] = Counter()
        self._told: dict[str, _Gist] = {}
        self._unreadable = 0
        self._samples: Seen | None = None
        self._status = Status(self._summary(), console=console)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._status.stop()
        self._console.print(self._summary(), style="dim", soft_wrap=not self._console.is_terminal)

    def show(self, records: Sequence[Record], *, unreadable: int) -> None:
        """Print each in words."""
        for record in records:
            self._seen[record.kind_name] += 1
            text = words.line(record, fmt.date_time)
            if text is not None and not self._repeats(record):
                self._console.print(text, soft_wrap=True)
                if isinstance(record, Recommendation) and (step := words.next_step(record)):
                    in_full = f"in full: duri show {record.id}"
                    self._console.print(f"{words.UNDER}then: {step}; {in_full}", style="dim", soft_wrap=True)
        self._unreadable = unreadable
        if records:
            self._status.update(self._summary())

    def beat(self, seen: Seen | None) -> None:
        """Say it: in the line below on a terminal; elsewhere as a line of its own where it is news."""
        before, self._samples = self._samples, seen
        if self._console.is_terminal:
            self._status.update(self._summary())
        elif seen is not None and (before is None or seen.state is not before.state):
            self._console.print(seen.words, style="dim", soft_wrap=True)

    def _summary(self) -> Text:
        found = ", ".join(fmt.count(number, f"{kind} record") for kind, number in self._seen.items())
        text = Text(f"{self._samples.words}; " if self._samples is not None else "")
        text.append(found or "nothing found yet")
        return text.append(f", {self._unreadable} unreadable", "red") if self._unreadable else text

    def _repeats(self, record: Record) -> bool:
        if not isinstance(record, Anomaly):
            return False
        if record.state is AnomalyState.CLOSED:
            self._told.pop(record.id, None)
            return False
        gist = (record.severity, frozenset(firing.detector for firing in record.detectors))
        repeats = self._told.get(record.id) == gist
        self._told[record.id] = gist
        return repeats
