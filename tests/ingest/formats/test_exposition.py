from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipeline.ingest.formats.registry import by_name
from tests.builders import START
from tests.ingest.formats.reading import Row, decode, reason, rows
from tests.ingest.promises import fresh_context

SCRAPE = b"""\
# HELP http_requests_total The "total" of requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 %(ms)d
http_requests_total{method="post",code="400"}    3 %(ms)d

# TYPE up gauge
up 1
# TYPE rpc_seconds histogram
rpc_seconds_bucket{le="0.5"} 7
rpc_seconds_bucket{le="+Inf"} 9
rpc_seconds_sum 3.5
rpc_seconds_count 9
# TYPE gc_seconds summary
gc_seconds{quantile="0.5"} 4.773e-05
gc_seconds_sum 1.7
gc_seconds_count 26
# TYPE queue_count gauge
queue_count 5
""" % {b"ms": START + 5}

OPENMETRICS = b"""\
# TYPE jobs counter
# UNIT jobs jobs
# HELP jobs Jobs.
jobs_total 17.0 %(s)d.5 # {trace_id="oHg5SJ#YRHA0"} 9.8 1520879607.789
jobs_created %(s)d.123
# TYPE build info
build_info{version="1.0"} 1
# TYPE state stateset
state{state="on"} 1
state{state="off"} 0
# TYPE size gaugehistogram
size_bucket{le="+Inf"} 4
size_gcount 4
size_gsum 9
# TYPE rpc_seconds histogram
rpc_seconds_bucket{le="+Inf"} 9 # {trace_id="a"} 0.67
# TYPE odd unknown
odd 3
# EOF
""" % {b"s": START // 1000}

ACCEPTED: list[tuple[str, bytes, list[Row]]] = [
    (
        "a scrape of Prometheus",
        SCRAPE,
        [
            ("http_requests_total", {"method": "post", "code": "200"}, "counter", 5, 1027.0),
            ("http_requests_total", {"method": "post", "code": "400"}, "counter", 5, 3.0),
            ("up", {}, "gauge", 0, 1.0),
            ("rpc_seconds_bucket", {"le": "0.5"}, "bucket", 0, 7.0),
            ("rpc_seconds_bucket", {"le": "+Inf"}, "bucket", 0, 9.0),
            ("rpc_seconds_sum", {}, "counter", 0, 3.5),
            ("rpc_seconds_count", {}, "counter", 0, 9.0),
            ("gc_seconds", {"quantile": "0.5"}, "gauge", 0, 4.773e-05),
            ("gc_seconds_sum", {}, "counter", 0, 1.7),
            ("gc_seconds_count", {}, "counter", 0, 26.0),
            ("queue_count", {}, "gauge", 0, 5.0),
        ],
    ),
    (
        "a scrape of OpenMetrics",
        OPENMETRICS,
        [
            ("jobs_total", {}, "counter", 500, 17.0),
            ("jobs_created", {}, "gauge", 0, START / 1000 + 0.123),
            ("build_info", {"version": "1.0"}, "gauge", 0, 1.0),
            ("state", {"state": "on"}, "gauge", 0, 1.0),
            ("state", {"state": "off"}, "gauge", 0, 0.0),
            ("size_bucket", {"le": "+Inf"}, "gauge", 0, 4.0),
            ("size_gcount", {}, "gauge", 0, 4.0),
            ("size_gsum", {}, "gauge", 0, 9.0),
            ("rpc_seconds_bucket", {"le": "+Inf"}, "bucket", 0, 9.0),
            ("odd", {}, "gauge", 0, 3.0),
        ],
    ),
    ("no type: the name tells", b"a_total 1\nb 2", [("a_total", {}, "counter", 0, 1.0), ("b", {}, "gauge", 0, 2.0)]),
    ("a counter without a suffix", b"# TYPE hits counter\nhits 5", [("hits", {}, "counter", 0, 5.0)]),
    ("no samples", b"# EOF\n", []),
    ("nothing but white space", b" \n\t\n", []),
    ("carriage returns", b"# TYPE a counter\r\na 1\r\n", [("a", {}, "counter", 0, 1.0)]),
    ("empty braces", b"a{} 1", [("a", {}, "gauge", 0, 1.0)]),
    ("a comma at the end of the labels", b'a{b="c",} 1', [("a", {"b": "c"}, "gauge", 0, 1.0)]),
    ("blanks in many places", b' a\t{ b = "c" , d="e" }  1 ', [("a", {"b": "c", "d": "e"}, "gauge", 0, 1.0)]),
    ("no blank before the value", b'a{b="c"}1', [("a", {"b": "c"}, "gauge", 0, 1.0)]),
    ("escapes", rb'a{b="\\ \" \n \x"} 1', [("a", {"b": '\\ " \n \\x'}, "gauge", 0, 1.0)]),
    ("braces and hashes in a value", b'a{b="{#}"} 1', [("a", {"b": "{#}"}, "gauge", 0, 1.0)]),
    ("a name in quotes", b'{"http.rps", b="c"} 1', [("http.rps", {"b": "c"}, "gauge", 0, 1.0)]),
    ("a label in quotes", b'a{"http.status"="200"} 1', [("a", {"http.status": "200"}, "gauge", 0, 1.0)]),
    ("infinities", b"a +Inf\nb -Inf", [("a", {}, "gauge", 0, math.inf), ("b", {}, "gauge", 0, -math.inf)]),
    ("other scripts", 'a{b="Köln"} 1'.encode(), [("a", {"b": "Köln"}, "gauge", 0, 1.0)]),
]

REFUSED = [
    ("a name alone", b"a", "syntax"),
    ("labels alone", b'a{b="c"}', "syntax"),
    ("no name", b'{b="c"} 1', "labels"),
    ("a number alone", b"1", "syntax"),
    ("a word as value", b"a one", "fields"),
    ("Python's own numbers", b"a 1_0", "fields"),
    ("hexadecimal", b"a 0x10", "fields"),
    ("a label without a value", b"a{b} 1", "labels"),
    ("a label without quotes", b"a{b=c} 1", "labels"),
    ("no comma between labels", b'a{b="c" d="e"} 1', "labels"),
    ("a label twice", b'a{b="c",b="d"} 1', "labels"),
    ("a label twice alike", b'a{b="c",e="f","b"="c"} 1', "labels"),
    ("braces without an end", b'a{b="c" 1', "syntax"),
    ("quotes without an end", b'a{b="c} 1', "syntax"),
    ("a word as time", b"a 1 now", "fields"),
    ("NaN as time", b"a 1 NaN", "timestamp"),
    ("a time before 1970", b"a 1 -5", "timestamp"),
    ("too many words", b"a 1 2 3", "syntax"),
    ("the far future", b"a 1 %d" % (START + 7_200_000), "future"),
    ("the far past", b"a 1 5", "past"),
    ("invalid UTF-8", b'a{b="\xff"} 1', "syntax"),
    ("binary rubbish", bytes(range(128, 160)), "syntax"),
]


@pytest.mark.parametrize(("payload", "expected"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_accepted(payload: bytes, expected: list[Row]) -> None:
    """What a good message says."""
    assert rows("prometheus", payload) == expected


@pytest.mark.parametrize(("payload", "why"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(payload: bytes, why: str) -> None:
    """A bad line is refused for its own reason."""
    assert reason("prometheus", payload) == why


def test_good_lines_pass_beside_bad_ones() -> None:
    """Only the bad lines are refused, each with its number and with the comment that says its type."""
    found, points = decode("prometheus", b"# TYPE a counter\na 1\na x\nb 2\nb\n# TYPE c histogram\nc_sum -\n")
    assert found == [("a", {}, "counter", 0, 1.0), ("b", {}, "gauge", 0, 2.0)]
    assert [(one.position, one.payload) for one in points.refused] == [
        ("line 3", b"# TYPE a counter\na x"),
        ("line 5", b"b"),
        ("line 7", b"# TYPE c histogram\nc_sum -"),
    ]


names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
labels = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True).filter(
        lambda name: name != "service" and not name.startswith("__")  # reserved, as Prometheus' client has it
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), min_size=1, max_size=8),
    max_size=3,
)
numbers = st.floats(allow_nan=False)


def braced(given: dict[str, str]) -> str:
    escapes = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
    return "{" + ",".join(f'{label}="{text.translate(escapes)}"' for label, text in given.items()) + "}"


@given(st.lists(st.tuples(names, labels, numbers), max_size=5))
def test_reads_what_the_prometheus_client_reads(samples: list[tuple[str, dict[str, str], float]]) -> None:
    """Any body of samples says the same as to the parser of Prometheus' own client."""
    body = "".join(f"{name}{braced(given)} {value!r}\n" for name, given, value in samples)
    theirs = [
        (one.name, one.labels, one.value) for family in text_string_to_metric_families(body) for one in family.samples
    ]
    ours = [(name, given, value) for name, given, _, _, value in rows("prometheus", body.encode())]
    assert ours == theirs


def test_what_a_refused_line_keeps_is_its_own() -> None:
    """Neither the error of a bad line nor what caused it holds on to a frame, and so to what was read meanwhile."""
    lines = b"".join(b'{"x\xff", a="%d"} 1\n' % number for number in range(20))
    refused = by_name("prometheus").decode(lines, fresh_context()).refused
    assert len(refused) == 20
    for piece in refused:
        assert piece.error.__traceback__ is None
        assert piece.error.__cause__ is None
        assert piece.error.__context__ is None
