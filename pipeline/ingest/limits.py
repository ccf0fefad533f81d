"""What one message may ask for: every bound of the settings, checked in one place, each with its reason.

Reasons of the dead letters: `labels` (too many, too long), `series` (too many in a message), `size` (unfolds too far),
`nesting` (too deep), `future` and `past` (outside the window of time).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from pipeline.errors import DecodeError
from pipeline.settings import DetectSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.ingest.refused import Refused
    from pipeline.settings import IngestSettings


GAP_S: Final[float] = DetectSettings().gap_s
"""Unless the settings say otherwise."""
_UTF8_BYTES: Final = 4
"""Of a character, at most."""


class TimeWindow(NamedTuple):
    """Times that samples of a message may have, ms since the epoch, both ends included."""

    earliest: int
    latest: int

    def check(self, ts: int) -> None:
        """Raises DecodeError (reason `future` or `past`) for a time outside."""
        if ts > self.latest:
            raise DecodeError(
                f"a sample is {(ts - self.latest) / 1000:.0f} s further in the future than ingest.max_future_s allows; "
                "is the producer's clock or time unit right?",
                reason="future",
            )
        if ts < self.earliest:
            raise DecodeError(
                f"a sample is {(self.earliest - ts) / 1000:.0f} s further in the past than ingest.max_past_s allows; "
                "is the producer's clock or time unit right?",
                reason="past",
            )


class Limits:
    """The bounds of `IngestSettings`; `gap_s` is detect's, across which no rate is taken."""

    def __init__(self, settings: IngestSettings, gap_s: float = GAP_S) -> None:
        self._settings = settings
        self.reset_ms = round(gap_s * 1000)
        """How long before its sample a count may have begun to be told as a sample of 0, ms."""
        self.max_nesting = settings.max_nesting
        """Levels of lists and objects that a value may have."""
        self.max_series = settings.max_series_per_message
        """New ones of a message."""
        self.max_unfolded = settings.max_decompressed_bytes
        """Bytes that a compressed message may unfold to."""
        self.future_ms = round(settings.max_future_s * 1000)
        self.past_ms = round(settings.max_past_s * 1000)

    def window(self, arrived: int) -> TimeWindow:
        """Times that samples of a message may have whose Kafka timestamp is `arrived`, ms."""
        return TimeWindow(arrived - self.past_ms, arrived + self.future_ms)

    def check_series(self, count: int) -> None:
        """Raises DecodeError (reason `series`) where a message has more series than it may."""
        if count > self._settings.max_series_per_message:
            raise DecodeError(
                f"the message has {count} series or more; at most {self._settings.max_series_per_message} are taken "
                "(ingest.max_series_per_message); let the producer send smaller batches",
                reason="series",
            )

    def check_refused(self, refused: Sequence[Refused], *, nothing_else: bool = False) -> None:
        """Raises DecodeError (reason of the first) where too many pieces are refused to be letters of their own.

        So it is, too, where many pieces are refused and there is `nothing_else` in the message.
        """
        if len(refused) > self._settings.max_refused_pieces or (nothing_else and len(refused) > 1):
            self.refuse_all(refused)

    def refuse_all(self, refused: Sequence[Refused]) -> NoReturn:
        """Raises DecodeError (reason of the first) for the message as a whole."""
        first = refused[0]
        raise DecodeError(
            f"{len(refused)} pieces of the message cannot be read; the first, {first.position}: {first.error}",
            reason=first.error.reason,
        )

    def check_unfolded(self, size: int) -> None:
        """Raises DecodeError (reason `size`) where a message unfolds to more bytes than it may."""
        if size > self.max_unfolded:
            raise DecodeError(
                f"the message unfolds to {size} bytes or more; at most {self.max_unfolded} are taken "
                "(ingest.max_decompressed_bytes)",
                reason="size",
            )

    def check_nesting(self, depth: int) -> None:
        """Raises DecodeError (reason `nesting`) where lists and objects are nested deeper than they may."""
        if depth > self.max_nesting:
            raise DecodeError(
                f"a value is nested more than {self.max_nesting} levels deep (ingest.max_nesting)", reason="nesting"
            )

    def are_small(self, name: str, labels: int, size: int) -> bool:
        """Whether so many labels, which have so many bytes or less, are surely within the bounds of `check_labels`."""
        most = self._settings
        return labels <= most.max_labels and _UTF8_BYTES * len(name) + size <= most.max_label_bytes

    def check_labels(self, name: str, labels: Mapping[str, str]) -> None:
        """Raises DecodeError (reason `labels`) for too many labels, or too long ones."""
        settings = self._settings
        if len(labels) > settings.max_labels:
            raise DecodeError(
                f"{name[:80]!r} has {len(labels)} labels; at most {settings.max_labels} are taken (ingest.max_labels)",
                reason="labels",
            )
        size = len("".join([name, *labels, *labels.values()]).encode())
        if size > settings.max_label_bytes:
            raise DecodeError(
                f"{name[:80]!r}: name and labels are {size} bytes long; at most {settings.max_label_bytes} "
                "are taken (ingest.max_label_bytes)",
                reason="labels",
            )
