from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats.samples_json import decode
from pipeline.ingest.points import Context
from pipeline.ingest.scan.scanner import Candidates, Form, Scanned
from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from tests.builders import START, message
from tests.ingest.test_ingest_stage import dead, rows_of

LABELS = '{"service": "a", "status":"200"}'


def knowing() -> SeriesCatalog:
    """A catalog that has met one series."""
    catalog = SeriesCatalog(IngestSettings(), 1)
    decode(b'{"name":"up","labels":%s,"ts":%d,"value":1}' % (LABELS.encode(), START), Context(catalog, None, START))
    return catalog


def scan(catalog: SeriesCatalog, payloads: list[bytes]) -> Scanned:
    window = np.full(len(payloads), START)
    return catalog.scanner.scan(
        Form.JSON_SAMPLE,
        Candidates(payloads, [None] * len(payloads), window - 10**12, window + 10**12, 300_000),
    )


def text(ts: str = str(START), value: str = "17.5", name: str = '"up"', labels: str = LABELS) -> bytes:
    return f'{{"name":{name},"labels":{labels},"ts":{ts},"value":{value}}}'.encode()


TAKEN = [
    text(),
    text(value="0"),
    text(value="-0"),
    text(value="-12.25"),
    text(value="9007199254740991"),
    text(value="0.1"),
    text(value="123456.789012"),
    text(value="98.99497487438142"),
    text(value="0.30000000000000004"),
    text(value="-0.0"),
    text(value="9007199254740993"),
    text(value="1234567890123456789"),
    b' { "value" : 1 , "ts" : %d , "labels" : %s , "name" : "up" } \n' % (START, LABELS.encode()),
]

LEFT = [
    text(name='"down"'),
    text(labels='{"status":"200","service":"a"}'),
    text(labels='{"service":"a\\u0041"}'),
    text(labels="{}"),
    text(ts=str(START // 1000)),
    text(ts=f"{START}.0"),
    text(ts='"2026-01-01"'),
    text(value="1e3"),
    text(value="01"),
    text(value="1."),
    text(value=".5"),
    text(value="--1"),
    text(value="0.12345678901234567891"),
    text(value="12345678901234567890"),
    text(value="1234567.E1"),
    text(value='"1"'),
    text(value="null"),
    text(value="NaN"),
    text() + b"x",
    text()[:-1],
    text().replace(b'"value"', b'"value","value"'),
    b'{"name":"up","labels":%s,"ts":%d,"value":1,"value":2}' % (LABELS.encode(), START),
    b'{"name":"up","labels":%s,"ts":%d,"value":1,"kind":"gauge"}' % (LABELS.encode(), START),
    b'{"name":"up","labels":%s,"ts":%d,"value":1,}' % (LABELS.encode(), START),
    b"",
    b"{}",
    b"[]",
    b"{",
]


@pytest.mark.parametrize("payload", TAKEN)
def test_takes_plain_samples_of_known_series(payload: bytes) -> None:
    """What is of the common form is read to the very same series, time and value as by the general decoder."""
    catalog = knowing()
    scanned = scan(catalog, [payload])
    series, ts, value, _ = decode(payload, Context(catalog, None, START))
    assert (scanned.series[0], scanned.ts[0]) == (series[0], ts[0])
    assert struct.pack("<d", scanned.value[0]) == struct.pack("<d", value[0])


@pytest.mark.parametrize("payload", LEFT)
def test_leaves_the_rest_to_the_general_decoder(payload: bytes) -> None:
    """Unknown series, other forms, exponents and numbers of more than 19 digits are not taken."""
    assert scan(knowing(), [payload]).taken.tolist() == [False]


def test_series_whose_service_the_key_names_are_not_learned() -> None:
    """Where the message's key may name the service, the bytes of the labels do not tell the series."""
    catalog = SeriesCatalog(IngestSettings(), 1)
    payload = b'{"name":"up","labels":{"host":"h"},"ts":%d,"value":1}' % START
    decode(payload, Context(catalog, b"one", START))
    assert scan(catalog, [payload]).taken.tolist() == [False]


def test_many_series_are_told_apart() -> None:
    """Thousands of series, learned one after the other, are each found at their own index."""
    catalog = SeriesCatalog(IngestSettings(), 1)
    payloads = [text(labels=f'{{"service":"s{i}","i":"{i * 7}"}}') for i in range(5000)]
    wanted = [decode(payload, Context(catalog, None, START)).series[0] for payload in payloads]
    assert scan(catalog, payloads).series.tolist() == wanted


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9).map(str),
)
objects = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["up", "down", 'q"', "é"]),
        "labels": st.sampled_from([{"service": "a"}, {"service": "a", "x": "1"}, {}, {"a": {"b": 1}}, []]),
        "ts": st.one_of(st.just(START), st.integers(0, 10**19), st.just("2026-01-01T00:00:00Z")),
        "value": st.one_of(st.floats(allow_nan=False), st.integers(-(10**17), 10**17), st.none(), st.text(max_size=3)),
        "kind": st.sampled_from(["gauge", "counter", "x"]),
        "extra": st.integers(),
    },
)


def spelled(body: dict[str, Any], space: str, order: int) -> bytes:
    items = list(body.items())
    turned = dict(items[order % (len(items) or 1) :] + items[: order % (len(items) or 1)])
    return json.dumps(turned, separators=("," + space, space + ":")).encode()


payloads = st.one_of(
    st.builds(spelled, objects, st.sampled_from(["", " ", "\n\t"]), st.integers(0, 5)),
    st.builds(lambda number: text(value=number), numbers),
    st.binary(max_size=80),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(payloads, min_size=1, max_size=12), st.data())
def test_same_answer_as_the_general_decoder(messages: list[bytes], data: st.DataObject) -> None:
    """On arbitrary messages, mutated bytes among them, the stage with the scanner gives what it gives without."""
    at = data.draw(st.integers(0, len(messages) - 1))
    place, byte = data.draw(st.integers(0, 60)), data.draw(st.integers(0, 255))
    mutated = bytearray(messages[at])
    if place < len(mutated):
        mutated[place] = byte
    messages = [*messages, bytes(mutated)]
    with_scanner = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=2)
    without = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=2)
    # Twice: the first time teaches the series. A header keeps a message from the scanner.
    for offset in (0, 100):
        plain = with_scanner.step([message(offset + i, body) for i, body in enumerate(messages)])
        general = without.step([message(offset + i, body, x="y") for i, body in enumerate(messages)])
        assert str(rows_of(plain)) == str(rows_of(general))
        assert [letter.value for letter in dead(plain)] == [letter.value for letter in dead(general)]
