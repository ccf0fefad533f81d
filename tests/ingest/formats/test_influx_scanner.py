"""The compiled reader of the line protocol against the general decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.formats import influx
from pipeline.ingest.scan.influx import LineScanner, Used
from tests.builders import START
from tests.ingest.formats.reading import context, decode
from tests.ingest.formats.test_influx import ACCEPTED, REFUSED

if TYPE_CHECKING:
    from pipeline.ingest.points import Context

NS = START * 1_000_000
MANY = 1000


class Blind(LineScanner):
    """Leaves every line to the general decoder."""

    def scan(self, at: int, most_lines: int) -> tuple[Used, int]:  # noqa: ARG002  that of the scanner
        return Used(0, 0, 0, 0), at


def told(payload: bytes, given: Context) -> tuple[str, list[tuple[bytes, str, str, str]]]:
    """What came of a message, as it compares: NaN and negative zero by their spelling."""
    found, points = decode("influx", payload, given)
    return str(found), [(one.payload, one.position, one.error.reason, str(one.error)) for one in points.refused]


def blindly(payload: bytes) -> tuple[str, list[tuple[bytes, str, str, str]]]:
    with patch.object(influx, "LineScanner", Blind):
        return told(payload, context())


TAKEN: list[tuple[str, bytes]] = [
    ("integers", b"m,a=b x=1i,y=-2i,z=3u %d\n" % NS),
    ("floats", b"m,a=b x=1.5,y=-2,z=+0.25 %d\n" % NS),
    ("long floats", b"m,a=b x=98.99497487438142,y=-0.12345678901234567 %d\n" % NS),
    ("long whole numbers", b"m,a=b x=1234567890123456789,y=9007199254740993 %d\n" % NS),
    ("negative zeros", b"m,a=b x=-0,y=-0i,z=-0.0 %d\n" % NS),
    ("booleans", b"m,a=b x=true,y=F,z=t %d\n" % NS),
    ("texts", b'm,a=b s="a b,c=d",x=1 %d\n' % NS),
    ("escapes", rb"m\ n,a=b\,\ c x\=y=1"),
    ("other units of time", b"m,a=b x=1 %d\nm,a=b x=2 %d\nm,a=b x=3 %d" % (NS // 10**3, NS // 10**6, NS // 10**9)),
    ("no time", b"m,a=b x=1\r\nm,a=b x=2  \n\nm,a=b x=3"),
]


@pytest.mark.parametrize("payload", [case[1] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_takes_common_lines_of_known_series(payload: bytes) -> None:
    """What real producers send, it reads to the end, to the very same samples."""
    given = context()
    decode("influx", payload, given)
    used, end = LineScanner(payload, given, MANY).scan(0, MANY)
    assert end == len(payload)
    assert used.rows
    assert not used.lines
    assert told(payload, given) == blindly(payload)


def test_a_series_is_its_own_under_every_key() -> None:
    """Where the key names the service, the same line of another producer is another series."""
    line = b"m,host=h x=1"
    one = context(key=b"a")
    other = one._replace(key=b"b")
    for producer in (one, other, one, other):
        decode("influx", line, producer)
    assert len(one.catalog) == 2


@pytest.mark.parametrize(
    "payload", [case[1] for case in (*ACCEPTED, *REFUSED)], ids=[case[0] for case in (*ACCEPTED, *REFUSED)]
)
def test_known_lines_say_the_same_again(payload: bytes) -> None:
    """Every example says the same the second time, when its series are known."""
    given = context()
    assert told(payload, given) == told(payload, given) == blindly(payload)


words = st.sampled_from(
    [b"m", b"cpu", b"x", b"y=", rb"a\ b", rb"a\,b", rb"a\=b", rb"a\b", b"\\", b"", b"\xff", b"#", b'"']
)
values = st.one_of(
    st.floats().map(lambda value: repr(value).encode()),
    st.integers(-(2**66), 2**66).map(lambda value: b"%d" % value),
    st.integers(-(2**66), 2**66).map(lambda value: b"%di" % value),
    st.integers(0, 2**66).map(lambda value: b"%du" % value),
    st.decimals(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:f}".encode()[:80]),
    st.sampled_from(
        [b"t", b"f", b"T", b"F", b"true", b"false", b"True", b"TRUE", b"tr", b"", b"-", b".5", b"5.", b"1e3"]
    ),
    st.sampled_from(
        [b'"a"', b'"a b"', rb'"a\"b"', b'"a\nb"', b'"', b'"a"b', b"1x", b"-i", b"00.1", b"+1", b"--1", b"1_0"]
    ),
)
times = st.one_of(
    st.just(b""),
    st.integers(START - 10**6, START + 10**6).flatmap(
        lambda ms: st.sampled_from([b" %d" % (ms * 10**6), b" %d" % (ms * 10**3), b" %d" % ms, b"  %d " % (ms // 1000)])
    ),
    st.integers(-(2**70), 2**70).map(lambda value: b" %d" % value),
    st.sampled_from(
        [b" now", b" 1.5", b" ", b" -1", b"\r", b"\t", b" \t", b" 17\t", b" \t%d\x0b" % NS, b" " + b"0" * 20 + b"7"]
    ),
)
fields = st.lists(st.tuples(words, values), min_size=1, max_size=3).map(
    lambda pairs: b",".join(name + b"=" + value for name, value in pairs)
)
tags = st.lists(st.tuples(words, words), max_size=2).map(
    lambda pairs: b"".join(b"," + name + b"=" + value for name, value in pairs)
)
lines = st.one_of(
    st.tuples(words, tags, st.sampled_from([b" ", b"  ", b""]), fields, times).map(b"".join),
    st.sampled_from(
        [b"", b"# c", b" ", b"m", b"m x=1", b" m x=1", b"\t# c", b"\r", b"\tm x=1", b'm x="', b'm x=1,y="a\n",z=bad']
    ),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(lines, min_size=1, max_size=6), st.data())
def test_same_answer_as_the_general_decoder(parts: list[bytes], data: st.DataObject) -> None:
    """On arbitrary lines, mutated bytes among them: the same samples in the same order, the same pieces refused."""
    payload = b"\n".join(parts)
    place, byte = data.draw(st.integers(0, 200)), data.draw(st.integers(0, 255))
    mutated = bytearray(payload)
    if place < len(mutated):
        mutated[place] = byte
    given = context()
    for body in (payload, payload, bytes(mutated), bytes(mutated)):
        assert told(body, given) == blindly(body)


def test_order_is_kept_around_lines_for_the_general_decoder() -> None:
    """Lines come out as they stand, whoever read them."""
    given = context()
    decode("influx", b"m,i=0 x=0\nm,i=2 x=2", given)
    found, _ = decode("influx", b"m,i=0 x=0\nm,i=1 x=1e0\nm,i=2 x=2", given)
    assert found == [("m_x", {"i": str(i)}, "gauge", 0, float(i)) for i in range(3)]
