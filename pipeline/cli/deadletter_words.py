"""Dead letters as people and programs read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from pipeline import quantities as fmt
from pipeline.records import from_ms
from pipeline.views.entries import entries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.runtime.deadletter_counts import ReasonCount
    from pipeline.runtime.deadletter_letter import Letter
    from pipeline.runtime.deadletter_replay import Replayed

_FIRST_BYTES = 60
_ROW = 16


def plain_letter(letter: Letter) -> dict[str, object]:
    """One letter for programs."""
    error = letter.error
    return {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": from_ms(letter.timestamp).isoformat(),
        "reason": letter.reason,
        "message": error.get("message"),
        "stage": error.get("stage"),
        "origin": {name: error.get(name) for name in ("topic", "partition", "offset", "position")},
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "bytes": len(letter.value or b""),
        "first_bytes": first_bytes(letter.value or b""),
    }


def first_bytes(value: bytes) -> str:
    """How a letter begins: text as it is, anything else as Python writes bytes."""
    start = value[:_FIRST_BYTES]
    text = start.decode("utf-8", "replace")
    return text if text.isprintable() and "\ufffd" not in text else repr(start)[2:-1]


def letter_table(letters: Iterable[tuple[Letter, bool]]) -> Table:
    """A few lines a letter, on any terminal: its place beside when, why and where from; the message; how it begins.

    With each letter comes whether it was sent back.
    """
    return entries((f"{letter.partition}/{letter.offset}", _lines(letter, sent)) for letter, sent in letters)


def _lines(letter: Letter, sent_back: bool) -> tuple[Text, Text, Text]:
    head = Text.assemble(_time(letter.timestamp), "  ", (_printable(letter.reason or fmt.NOTHING), "yellow"))
    head.append(f"  {_printable(_origin(letter))}")
    if sent_back:
        head.append("  sent back", "green")
    return head, _safe(letter.error.get("message", "")), Text(first_bytes(letter.value or b""), "dim")


def reason_table(counts: Mapping[str, ReasonCount]) -> Table:
    """A line a reason, the most frequent first; the message of the newest letter goes on below where it is long."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("reason", no_wrap=True, style="yellow")
    table.add_column("letters", justify="right", no_wrap=True)
    table.add_column("sent back", justify="right", no_wrap=True)
    table.add_column("newest (UTC)", no_wrap=True)
    table.add_column("newest message", overflow="fold", ratio=1)
    for reason, count in counts.items():
        numbers = fmt.compact(count.letters), fmt.compact(count.sent_back)
        table.add_row(_safe(reason or fmt.NOTHING), *numbers, _time(count.newest_ms), _safe(count.example))
    return table


def plain_counts(counts: Mapping[str, ReasonCount]) -> Iterator[dict[str, object]]:
    """A line a reason for programs."""
    for reason, count in counts.items():
        yield {
            "reason": reason,
            "letters": count.letters,
            "sent_back": count.sent_back,
            "oldest": from_ms(count.oldest_ms).isoformat(),
            "newest": from_ms(count.newest_ms).isoformat(),
            "message": count.example,
        }


def count_words(counts: Mapping[str, ReasonCount]) -> str:
    """In one line: 12 letters: syntax 10, fields 2."""
    total = sum(count.letters for count in counts.values())
    parts = ", ".join(f"{reason or fmt.NOTHING} {fmt.compact(count.letters)}" for reason, count in counts.items())
    return f"{fmt.count(total, 'letter')}: {parts}"


def letter_words(letter: Letter) -> Iterator[str]:
    """One letter in full: where from, why, its key and headers, and its bytes as text or as a hex dump."""
    yield f"place    {letter.partition}/{letter.offset}, since {_time(letter.timestamp)} UTC"
    yield f"from     {_origin(letter)}"
    yield f"reason   {letter.reason or fmt.NOTHING} (stage {letter.error.get('stage', '?')})"
    yield f"message  {_printable(letter.error.get('message', ''))}"
    yield f"key      {fmt.NOTHING if letter.key is None else first_bytes(letter.key)}"
    for name, value in letter.headers:
        yield f"header   {_printable(name)}: {first_bytes(value)}"
    content = letter.value
    yield f"bytes    {'none: the message had no value' if content is None else fmt.compact(len(content))}"
    yield ""
    yield from _content(content or b"")


def _content(value: bytes) -> Iterator[str]:
    text = value.decode("utf-8", "replace")
    if "\ufffd" not in text and all(line.isprintable() for line in text.replace("\t", " ").splitlines()):
        yield from text.splitlines()
        return
    for at in range(0, len(value), _ROW):
        row = value[at : at + _ROW]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{at:08x}  {row.hex(' '):<{3 * _ROW - 1}}  {shown}"


def replay_words(result: Replayed) -> list[str]:
    """What a replay did."""
    sent = [f"{fmt.count(number, 'letter')} sent back to {topic}" for topic, number in sorted(result.sent.items())]
    notes = []
    if result.before:
        notes.append(f"{fmt.count(result.before, 'letter')} sent back before; --from-beginning sends them again")
    if result.unaddressed:
        notes.append(f"{fmt.count(result.unaddressed, 'letter')} left alone: they do not say where they came from")
    return [*(sent or ["nothing to send back"]), *notes]


def _origin(letter: Letter) -> str:
    error = letter.error
    position = f", {error['position']}" if "position" in error else ""
    return f"{error.get('topic', '?')}/{error.get('partition', '?')} @ {error.get('offset', '?')}{position}"


def _time(ms: int) -> str:
    return f"{from_ms(ms):%Y-%m-%d %H:%M:%S}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _safe(text: str) -> Text:
    """As text: brackets in what others sent are no markup, and the terminal must not obey it."""
    return Text(_printable(text))
