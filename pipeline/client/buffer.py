"""What waits for Kafka: bounded, and when it is full the oldest goes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.client.messages import Message


class Buffer:
    """Messages in the order in which they are to be sent, of at most so many samples together."""

    def __init__(self, most: int) -> None:
        self.samples = 0
        """Samples that wait."""
        self.dropped = 0
        """Samples that had to go because nobody took them."""
        self._most = most
        self._waiting: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, messages: Iterable[Message]) -> None:
        """Add these at the end; the oldest go where there is no room."""
        for message in messages:
            self._waiting.append(message)
            self.samples += message.samples
        while self.samples > self._most:
            self.drop()

    def first(self) -> Message:
        """The one to be sent next."""
        return self._waiting[0]

    def done(self, message: Message) -> None:
        """The message was sent; it may have been dropped in the meantime."""
        if self._waiting and self._waiting[0] is message:
            self._waiting.popleft()
            self.samples -= message.samples
        else:
            self.dropped -= message.samples

    def drop(self) -> None:
        """Give the oldest up."""
        message = self._waiting.popleft()
        self.samples -= message.samples
        self.dropped += message.samples
