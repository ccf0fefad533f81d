"""How many dead letters there are of each reason, and how many of them were sent back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.runtime.deadletter_memory import Selection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pipeline.runtime.deadletter_letter import Letter
    from pipeline.runtime.deadletter_log import DeadLetterLog


@dataclass(slots=True)
class ReasonCount:
    """The letters of one reason; times in ms."""

    letters: int = 0
    sent_back: int = 0
    oldest_ms: int = 0
    newest_ms: int = 0
    example: str = ""
    """The message of the newest one."""

    def add(self, letter: Letter, *, sent_back: bool) -> None:
        """Count one more; letters come oldest first."""
        self.letters += 1
        self.sent_back += sent_back
        self.oldest_ms = self.oldest_ms or letter.timestamp
        if letter.timestamp >= self.newest_ms:
            self.newest_ms = letter.timestamp
            self.example = letter.error.get("message", "")


async def count_by_reason(
    log: DeadLetterLog, selection: Selection | None = None, before_ms: int | None = None
) -> dict[str, ReasonCount]:
    """Letters of each reason, the most frequent first: all, or those selected and older than a time (ms)."""
    found: dict[str, ReasonCount] = {}
    selection = selection or Selection()
    async for letter, sent_back in _letters(log, before_ms):
        if selection.takes(letter) and (sent_back or not selection.replayed):
            found.setdefault(letter.reason, ReasonCount()).add(letter, sent_back=sent_back)
    return dict(sorted(found.items(), key=lambda item: (-item[1].letters, item[0])))


async def _letters(log: DeadLetterLog, before_ms: int | None) -> AsyncIterator[tuple[Letter, bool]]:
    """(letter, whether it was sent back)."""
    for place in log.places:
        replayed = await log.memory(place, log.group)
        until = log.end(place) if before_ms is None else await log.first_at(place, before_ms)
        async for letters, position in log.read(place, 0):
            for letter in letters:
                if letter.offset < until:
                    yield letter, replayed.has(letter)
            if position >= until:
                break
