"""Every decoder on messages that nobody wrote: examples spoilt here and there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.formats.registry import FORMATS, Format
from tests.fuzz.seeds import golden, seeds
from tests.ingest.promises import check

EXAMPLES = seeds()
REAL = golden()


@st.composite
def spoilt(draw: st.DrawFn, name: str) -> bytes:
    """An example of the format, or what a real program sent, cut, doubled, with other bytes in it."""
    examples = [*EXAMPLES.get(name, ()), *REAL] or [b""]
    payload = bytearray(draw(st.sampled_from(examples)))
    for _ in range(draw(st.integers(1, 4))):
        at, end = (draw(st.integers(0, len(payload))) for _ in range(2))
        change = draw(st.sampled_from(["replace", "insert", "delete", "double", "cross"]))
        if change == "replace":
            payload[at : at + 1] = draw(st.binary(min_size=1, max_size=2))
        elif change == "insert":
            payload[at:at] = draw(
                st.one_of(st.binary(max_size=4), st.sampled_from([b'"', b"\\", b"\n", b"{", b"[", b"9" * 30]))
            )
        elif change == "delete":
            del payload[min(at, end) : max(at, end)]
        elif change == "double":
            payload[at:at] = payload[min(at, end) : max(at, end)]
        else:
            payload[at:] = draw(st.sampled_from(examples))[end:]
    return bytes(payload)


@pytest.mark.parametrize("decoder", FORMATS, ids=lambda decoder: decoder.name)
@settings(max_examples=100, deadline=None)
@given(data=st.data(), key=st.sampled_from([None, b"", b"orders", b"\xff"]))
def test_spoilt_messages_break_no_promise(decoder: Format, data: st.DataObject, key: bytes | None) -> None:
    """Whatever comes: columns that fit, pieces refused alone, or a refusal that says why; nothing else is raised."""
    check(decoder, data.draw(spoilt(decoder.name)), key)
