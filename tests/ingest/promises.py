"""What every decoder promises of any bytes whatever: for the property tests, and for the fuzzer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from hypothesis import strategies as st

from pipeline.errors import DecodeError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.deadletters import dead_letter, dead_piece
from pipeline.ingest.points import Context
from pipeline.settings import IngestSettings
from tests.builders import START, message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.ingest.formats.registry import Decode
    from pipeline.ingest.points import Points
    from pipeline.ingest.refused import Refused

_PIECES = 5
_SETTINGS = IngestSettings()


def fresh_context(key: bytes | None = None) -> Context:
    """A message that arrived at START, before which no other came."""
    return Context(SeriesCatalog(_SETTINGS, 4), key, START)


class Decoder(Protocol):
    """A format, or what takes bytes as one does."""

    @property
    def decode(self) -> Decode:
        """See `pipeline.ingest.formats.registry.Decode`."""


def decode(decoder: Decoder, payload: bytes, context: Context) -> Points | DecodeError:
    """What the decoder gives, or how it refuses; no other exception is one that it may raise."""
    try:
        return decoder.decode(payload, context)
    except DecodeError as error:
        return error


def check(decoder: Decoder, payload: bytes, key: bytes | None = None) -> None:
    """Raises AssertionError where a promise is broken."""
    context = fresh_context(key)
    check_result(decode(decoder, payload, context), decoder, payload, context)


def check_result(found: Points | DecodeError, decoder: Decoder, payload: bytes, context: Context) -> None:
    """Columns of equal length that fit their types, pieces refused alone, or a refusal that says why."""
    if isinstance(found, DecodeError):
        assert found.reason
        assert str(found)
        # The letter is written whatever the error quotes of the message.
        assert dead_letter(message(0, payload), found, stage="ingest").value == payload
        return
    index, ts, value = (
        np.asarray(column, dtype=dtype)
        for column, dtype in zip(found[:3], (np.int64, np.int64, np.float64), strict=True)
    )
    assert len(index) == len(ts) == len(value)
    assert np.all((index >= 0) & (index < len(context.catalog)))
    assert np.all(ts >= 0)
    _check_pieces(found.refused, decoder, payload, context)


def _check_pieces(refused: Sequence[Refused], decoder: Decoder, payload: bytes, context: Context) -> None:
    for piece in refused[:_PIECES]:
        assert piece.position
        assert dead_piece(message(0, payload), piece, stage="ingest").value == piece.payload
        if piece.content_type:
            continue  # it is of another format
        again = decode(decoder, piece.payload, context)
        assert isinstance(again, DecodeError) or (len(again.refused) == 1 and not len(again.ts)), piece


def check_changed(
    data: st.DataObject, decoder: Decoder, valid: bytes, packed: Callable[[bytes], bytes] = bytes
) -> None:
    """A valid message with bytes changed or cut: as `check`, and each piece is refused again for the same reason.

    Bytes are changed before the message is `packed`. Raises AssertionError.
    """
    changed = bytearray(valid)
    places = st.tuples(st.integers(0, len(valid) - 1), st.integers(0, 255))
    for at, byte in data.draw(st.lists(places, max_size=4)):
        changed[at] = byte
    payload = packed(bytes(changed[: data.draw(st.integers(0, len(valid)))] or changed))
    context = fresh_context()
    found = decode(decoder, payload, context)
    check_result(found, decoder, payload, context)
    if isinstance(found, DecodeError):
        return
    for piece in found.refused:
        again = decoder.decode(piece.payload, context)
        assert [one.error.reason for one in again.refused] == [piece.error.reason]
