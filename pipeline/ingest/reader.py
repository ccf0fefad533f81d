"""Messages into columns: what the scanner knows in whole runs, the rest by its decoder, dead letters in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from pipeline.errors import DecodeError
from pipeline.ingest.deadletters import dead_letter, dead_piece
from pipeline.ingest.formats.cloudevents import millis_of
from pipeline.ingest.formats.registry import AUTO, Opened, decode_message, open_message, told_by
from pipeline.ingest.points import Context
from pipeline.ingest.scan.scanner import Candidates, Form

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from pipeline.ingest.catalog import SeriesCatalog
    from pipeline.ingest.columns import Columns
    from pipeline.ingest.points import Points
    from pipeline.ingest.scan.scanner import Scanned
    from pipeline.settings import IngestSettings
    from pipeline.stage import InputRecord, Output

_STAGE: Final = "ingest"
_LONGEST_SAMPLE: Final = 2048
_OPEN: Final = b"{"
_CHUNK_BYTES: Final = 8 << 20
"""Messages are scanned together up to this many bytes: what compressed ones unfold to must not add up."""
_PATIENCE: Final = 4
"""How many times as many messages that were left are decoded, each round, before the rest is scanned again."""


class Letter(NamedTuple):
    """A dead letter and its reason."""

    reason: str
    output: Output


class _Prepared(NamedTuple):
    """What is to be scanned of a message (as nothing where the form is NONE), and what is known of it already."""

    payload: bytes = b""
    form: Form = Form.NONE
    opened: Opened | DecodeError | None = None
    """None for a message that looks like a JSON sample."""
    time: int | None = None
    """ms: where the event says it of itself, instead of Kafka."""


class _Chunk:
    """Messages to be scanned together, all of one form."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.opened: list[Opened | DecodeError | None] = []
        self.form = Form.NONE
        self._times: dict[int, int] = {}
        self._room = _CHUNK_BYTES

    def __len__(self) -> int:
        return len(self.payloads)

    def takes(self, form: Form) -> bool:
        """Whether there is room for one more, of this form."""
        return self._room > 0 and (form is self.form or Form.NONE in (form, self.form))

    def add(self, prepared: _Prepared) -> None:
        """One more message."""
        if prepared.time is not None:
            self._times[len(self)] = prepared.time
        self.payloads.append(prepared.payload)
        self.opened.append(prepared.opened)
        self._room -= len(prepared.payload)
        if prepared.form is not Form.NONE:
            self.form = prepared.form

    def times(self, arrived: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """When each message was, ms: Kafka's times, given, but for events that say their own."""
        if not self._times:
            return arrived
        times = arrived.copy()
        times[list(self._times)] = list(self._times.values())
        return times


class MessageReader:
    """Reads the messages of one input partition."""

    def __init__(self, settings: IngestSettings, catalog: SeriesCatalog, topic_format: str) -> None:
        self._max_series = settings.max_series_per_message
        self._catalog = catalog
        self._topic_format = topic_format
        self._looks_at_json = topic_format in (AUTO, "json")

    def read(
        self, records: Sequence[InputRecord], arrived: npt.NDArray[np.int64], columns: Columns
    ) -> Iterator[Letter]:
        """Samples of these messages into `columns`, in order; a dead letter for each, or each piece, that is refused.

        arrived int64[n]: Kafka's timestamps, ms.
        """
        samples = self._all_json_samples(records)
        if samples:
            yield from self._take(records, arrived, samples, columns)
            return
        begin = 0
        chunk = _Chunk()
        for at, record in enumerate(records):
            prepared = self._prepare(record)
            if not chunk.takes(prepared.form):
                yield from self._take(records[begin:at], arrived[begin:at], chunk, columns)
                begin, chunk = at, _Chunk()
            chunk.add(prepared)
        if len(chunk):
            yield from self._take(records[begin:], arrived[begin:], chunk, columns)

    def _all_json_samples(self, records: Sequence[InputRecord]) -> _Chunk | None:
        """The messages as one chunk where they look like JSON samples: where each holds one, each must cost little.

        The scanner leaves what is none.
        """
        if not (self._looks_at_json and records and (records[0].value or b"").startswith(_OPEN)):
            return None
        payloads = [record.value for record in records if record.value and not record.headers]
        if len(payloads) < len(records) or sum(map(len, payloads)) > _LONGEST_SAMPLE * len(payloads):
            return None
        chunk = _Chunk()
        chunk.payloads, chunk.form, chunk.opened = payloads, Form.JSON_SAMPLE, [None] * len(payloads)
        return chunk

    def _prepare(self, record: InputRecord) -> _Prepared:
        try:
            return self._looked_at(record)
        except DecodeError as error:
            return _Prepared(opened=error)
        except Exception as error:  # noqa: BLE001  see `_points`
            return _Prepared(opened=_overlooked(error))

    def _looked_at(self, record: InputRecord) -> _Prepared:
        """Raises DecodeError."""
        payload = record.value
        if payload and payload.startswith(_OPEN) and self._looks_at_json:
            told = told_by(record.headers)
            if told.is_plain_json:
                if len(payload) > _LONGEST_SAMPLE:
                    return _Prepared()
                return _Prepared(payload, Form.JSON_SAMPLE, time=self._time(record, told.time))
        opened = self._open(record)
        form = opened.format.form
        if form is Form.NONE:
            return _Prepared(opened=opened)
        unfolded = opened.format.unfold(opened.payload, opened.encoding, self._catalog.limits)
        return _Prepared(unfolded, form, opened, self._time(record, opened.time))

    def _time(self, record: InputRecord, time: str | None) -> int | None:
        """When an event says that it was, ms. Raises DecodeError."""
        return millis_of(time, self._catalog.limits.window(record.timestamp)) if time else None

    def _context(self, record: InputRecord) -> Context:
        return Context(self._catalog, record.key, record.timestamp)

    def _open(self, record: InputRecord) -> Opened:
        if not record.value:
            raise DecodeError("an empty message", reason="empty")
        return open_message(record.value, record.headers, self._topic_format, self._catalog.limits)

    def _take(
        self, records: Sequence[InputRecord], arrived: npt.NDArray[np.int64], chunk: _Chunk, columns: Columns
    ) -> Iterator[Letter]:
        """Samples of a chunk. What decoders meet in it serves the scanner at once: the rest is then scanned again."""
        done, patience = 0, 1
        arrived = chunk.times(arrived)
        while done < len(records):
            scanned = self._scan(records, arrived, chunk, done)
            starts = np.concatenate([[0], scanned.ends[:-1]])
            left = np.flatnonzero(~scanned.taken | (scanned.ends - starts > self._max_series))
            row = 0
            for at in left[:patience].tolist():
                columns.add_run(scanned, row, int(starts[at]))
                row = int(scanned.ends[at])
                yield from self._decode(records[done + at], chunk.opened[done + at], columns)
            if len(left) > patience:
                done += int(left[patience - 1]) + 1
                # Messages that no scanner can take must not be scanned each time.
                patience *= _PATIENCE
            else:
                columns.add_run(scanned, row, len(scanned.series))
                done = len(records)

    def _scan(
        self, records: Sequence[InputRecord], arrived: npt.NDArray[np.int64], chunk: _Chunk, begin: int
    ) -> Scanned:
        limits = self._catalog.limits
        return self._catalog.scanner.scan(
            chunk.form,
            Candidates(
                payloads=chunk.payloads[begin:],
                keys=[record.key for record in records[begin:]],
                earliest=arrived[begin:] - limits.past_ms,
                latest=arrived[begin:] + limits.future_ms,
                reset_ms=limits.reset_ms,
            ),
        )

    def _decode(self, record: InputRecord, opened: Opened | DecodeError | None, columns: Columns) -> Iterator[Letter]:
        try:
            points = self._points(record, opened)
        except DecodeError as error:
            yield Letter(error.reason, dead_letter(record, error, stage=_STAGE))
            return
        columns.add(points)
        for piece in points.refused:
            yield Letter(piece.error.reason, dead_piece(record, piece, stage=_STAGE))

    def _points(self, record: InputRecord, opened: Opened | DecodeError | None) -> Points:
        if isinstance(opened, DecodeError):
            raise opened
        context = self._context(record)
        try:
            points = decode_message(opened or self._open(record), context)
        except DecodeError:
            raise
        except Exception as error:  # one message must never stop a partition, whatever a decoder has overlooked
            raise _overlooked(error) from error
        self._check(points, context)
        return points

    def _check(self, points: Points, context: Context) -> None:
        """Raises DecodeError where the message as a whole does not keep to the limits."""
        context.catalog.limits.check_refused(points.refused, nothing_else=not len(points.ts))
        if len(points.ts) > self._max_series:
            context.catalog.limits.check_series(len(np.unique(np.asarray(points.series))))


def _overlooked(error: Exception) -> DecodeError:
    return DecodeError(f"{type(error).__name__}: {error}", reason="internal")
