from __future__ import annotations

import pytest

from tests.builders import START
from tests.ingest.formats.reading import Row, context, decode, reason, rows

NS = START * 1_000_000


def gauge(name: str, value: float, at: int = 0, **labels: str) -> Row:
    return (name, labels, "gauge", at, value)


# What it shows, the message, what comes of it. Many are from the parsers of Telegraf and VictoriaMetrics.
ACCEPTED: list[tuple[str, bytes, list[Row]]] = [
    ("one field", b"cpu idle=42 %d" % NS, [gauge("cpu_idle", 42.0)]),
    ("a line break at the end", b"cpu idle=42 %d\n" % NS, [gauge("cpu_idle", 42.0)]),
    (
        "carriage returns",
        b"cpu idle=42 %d\r\ncpu idle=43 %d\r\n" % (NS, NS),
        [gauge("cpu_idle", 42.0), gauge("cpu_idle", 43.0)],
    ),
    ("empty lines and comments", b"\n# a comment\r\n\n  #\ncpu idle=1\n\n", [gauge("cpu_idle", 1.0)]),
    ("nothing but a comment", b"# cpu idle=1", []),
    ("many fields", b"mem free=1i,used=2i", [gauge("mem_free", 1.0), gauge("mem_used", 2.0)]),
    ("tags", b"cpu,cpu=cpu0,host=a idle=1", [gauge("cpu_idle", 1.0, cpu="cpu0", host="a")]),
    ("a tag without a value", b"cpu,cpu=,=x,host=a idle=1", [gauge("cpu_idle", 1.0, host="a")]),
    ("a tag whose value has an equals sign", b"cpu,q=a=b idle=1", [gauge("cpu_idle", 1.0, q="a=b")]),
    ("excess spaces", b"  cpu,host=a   idle=1   %d  " % NS, [gauge("cpu_idle", 1.0, host="a")]),
    ("no time is the message's", b"cpu idle=1", [gauge("cpu_idle", 1.0)]),
    ("microseconds", b"cpu idle=1 %d" % (START * 1000 + 7000), [gauge("cpu_idle", 1.0, 7)]),
    ("milliseconds", b"cpu idle=1 %d" % (START + 7), [gauge("cpu_idle", 1.0, 7)]),
    ("seconds", b"cpu idle=1 %d" % (START // 1000 + 7), [gauge("cpu_idle", 1.0, 7000)]),
    ("an integer", b"m a=-42i", [gauge("m_a", -42.0)]),
    ("the largest integer", b"m a=9223372036854775807i", [gauge("m_a", 2.0**63)]),
    ("an unsigned integer", b"m a=18446744073709551615u", [gauge("m_a", 2.0**64)]),
    ("a long float", b"m a=98.99497487438142", [gauge("m_a", 98.99497487438142)]),
    ("an exponent", b"m a=-1.5E-3", [gauge("m_a", -0.0015)]),
    ("a float without a whole part", b"m a=-.42", [gauge("m_a", -0.42)]),
    ("a float with leading zeros", b"m a=00.42", [gauge("m_a", 0.42)]),
    (
        "booleans",
        b"m a=t,b=True,c=F,d=false",
        [gauge("m_a", 1.0), gauge("m_b", 1.0), gauge("m_c", 0.0), gauge("m_d", 0.0)],
    ),
    ("texts are no samples", rb'm a="1",b="x, y=2 \" z",c=3', [gauge("m_c", 3.0)]),
    ("a text over two lines", b'm a="4\n2",b=1\nm b=2', [gauge("m_b", 1.0), gauge("m_b", 2.0)]),
    ("nothing but texts", b'm a="1"', []),
    (
        "an escaped space",
        rb"c\ pu,h\ ost=two\ words i\ dle=1",
        [("c pu_i dle", {"h ost": "two words"}, "gauge", 0, 1.0)],
    ),
    ("an escaped comma", rb"c\,pu,h\,ost=a\,b i\,dle=1", [("c,pu_i,dle", {"h,ost": "a,b"}, "gauge", 0, 1.0)]),
    ("an escaped equals sign", rb"cpu,h\=ost=a i\=dle=1", [("cpu_i=dle", {"h=ost": "a"}, "gauge", 0, 1.0)]),
    (
        "a backslash before anything else",
        rb"c\pu,ho\st=\a id\le=1",
        [(r"c\pu_id\le", {r"ho\st": r"\a"}, "gauge", 0, 1.0)],
    ),
    # As Telegraf's parser reads them: a backslash is half of a pair in measurements and fields, but not in tags.
    ("two backslashes and a space", rb"cpu,host=two\\ words idle=1", [gauge("cpu_idle", 1.0, host=r"two\ words")]),
    ("two backslashes and a comma", rb"cpu,host=a\\,b idle=1", [gauge("cpu_idle", 1.0, host=r"a\,b")]),
    ("a measurement that ends in two", rb"cpu\\ idle=1", [gauge(r"cpu\\_idle", 1.0)]),
    ("one with tags", rb"cpu\\,host=a idle=1", [gauge(r"cpu\\_idle", 1.0, host="a")]),
    ("a field that ends in two", rb"cpu idle\\=1", [gauge(r"cpu_idle\\", 1.0)]),
    ("three of them and a space", rb"c\\\ pu idle=1", [gauge(r"c\\ pu_idle", 1.0)]),
    ("an equals sign in a measurement", rb"c\=pu idle=1", [gauge(r"c\=pu_idle", 1.0)]),
    (
        "what Telegraf scraped",
        b"prometheus,url=u http_requests_total=5",
        [("http_requests_total", {"url": "u"}, "counter", 0, 5.0)],
    ),
    ("other scripts", "погода,город=Köln темп=5".encode(), [("погода_темп", {"город": "Köln"}, "gauge", 0, 5.0)]),
]

REFUSED = [
    ("no fields", b"cpu", "syntax"),
    ("tags, but no fields", b"cpu,host=a %d" % NS, "fields"),
    ("a tag without an equals sign", b"cpu,host idle=1", "labels"),
    ("a tag twice", b"cpu,host=a,host=b idle=1", "labels"),
    ("a tag twice alike", b"cpu,host=a,x=y,host=a idle=1", "labels"),
    ("no measurement", b",host=a idle=1", "labels"),
    ("a field without a name", b"cpu =1", "fields"),
    ("a field without a value", b"cpu idle=", "fields"),
    ("an empty value among others", b"cpu idle=,used=1", "fields"),
    ("a comma at the end", b"cpu idle=1, 5", "fields"),
    ("a word", b"cpu idle=howdy", "fields"),
    ("only a dot", b"cpu idle=.", "fields"),
    ("an exponent without digits", b"cpu idle=42E", "fields"),
    ("NaN", b"cpu idle=NaN", "fields"),
    ("infinity", b"cpu idle=+Inf", "fields"),
    ("beyond all floats", b"cpu idle=1e999", "fields"),
    ("an integer out of range", b"cpu idle=9223372036854775808i", "fields"),
    ("an unsigned integer out of range", b"cpu idle=18446744073709551616u", "fields"),
    ("a negative unsigned integer", b"cpu idle=-1u", "fields"),
    ("a letter in an integer", b"cpu idle=1abci", "fields"),
    ("Python's own numbers", b"cpu idle=1_000", "fields"),
    ("digits of another script", "cpu idle=٣".encode(), "fields"),
    ("a text without an end", b'cpu idle="x', "fields"),
    ("something behind a text", b'cpu idle="x"y', "fields"),
    ("a quote inside a number", b'cpu idle=1"', "fields"),
    ("a time that is none", b"cpu idle=1 now", "timestamp"),
    ("a fractional time", b"cpu idle=1 1.5", "timestamp"),
    ("a time before 1970", b"cpu idle=1 -5", "timestamp"),
    ("too long a time", b"cpu idle=1 1%s" % (b"0" * 30), "timestamp"),
    ("two times", b"cpu idle=1 %d %d" % (NS, NS), "timestamp"),
    ("the far future", b"cpu idle=1 %d" % (NS + 7_200_000_000_000), "future"),
    ("the far past", b"cpu idle=1 5", "past"),
    ("invalid UTF-8", b"cpu,host=\xff idle=1", "syntax"),
    ("invalid UTF-8 beside a text", b'\xff idle="a"', "syntax"),
    ("invalid UTF-8 in a field's name", b"cpu \xff=1", "syntax"),
    ("a tag that ends in two backslashes", rb"cpu,host=a\\ idle=1", "syntax"),
    ("a text behind an escaped equals sign", rb'm a\\="x="y"', "fields"),
    ("a measurement that ends in a backslash", rb"cpu\ idle=1", "syntax"),
    ("an HTTP request", b"GET /foo?bar=baz HTTP/1.0", "fields"),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(payload: bytes, expected: list[Row]) -> None:
    """What a good message says."""
    assert rows("influx", payload) == expected


@pytest.mark.parametrize(("payload", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(payload: bytes, why: str) -> None:
    """A bad line is refused for its own reason."""
    assert reason("influx", payload) == why


def test_good_lines_pass_beside_bad_ones() -> None:
    """Only the bad lines are refused: each as it stood, with its number, whatever is around them."""
    payload = b'# c\ncpu idle=1\nbad\nm t="a\nb",v=2\r\ncpu idle=x\ncpu idle=3\nm t="\n'
    found, points = decode("influx", payload)
    assert found == [gauge("cpu_idle", 1.0), gauge("m_v", 2.0), gauge("cpu_idle", 3.0)]
    assert [(one.position, one.payload) for one in points.refused] == [
        ("line 3", b"bad"),
        ("line 6", b"cpu idle=x"),
        ("line 8", b'm t="'),
    ]


def test_a_bad_field_takes_its_line_along() -> None:
    """A line is one point: it passes as a whole or not at all."""
    found, points = decode("influx", b"cpu idle=1,used=x")
    assert not found
    assert len(points.refused) == 1


def test_the_service_is_the_key_and_else_the_host() -> None:
    """Telegraf says `host`, not `service`: that is the last resort."""
    for key, service in ((b"orders", "orders"), (None, "web-1")):
        given = context(key=key)
        decode("influx", b"cpu,host=web-1 idle=1", given)
        assert b'"service":"%s"' % service.encode() in given.catalog.series[0]


def test_a_refusal_quotes_its_own_line() -> None:
    """Not what comes after it, which may be fine."""
    _, points = decode("influx", b"mem free= 1\ncpu usage=1")
    [refused] = points.refused
    assert "free= 1" in str(refused.error)
    assert "cpu" not in str(refused.error)
