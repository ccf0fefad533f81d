"""What is said of JSON that cannot be read."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import DecodeError
from pipeline.ingest.formats.registry import by_name
from tests.builders import START
from tests.ingest.promises import decode, fresh_context

ONE = json.dumps({"name": "up", "labels": {"service": "shop"}, "ts": START, "value": 1}).encode()
TELEGRAF = json.dumps({"name": "mem", "tags": {}, "fields": {"free": 5}, "timestamp": START // 1000}).encode()


def refused(payload: bytes, name: str = "json") -> str:
    found = decode(by_name(name), payload, fresh_context())
    assert isinstance(found, DecodeError)
    assert found.reason == "syntax"
    return str(found)


@pytest.mark.parametrize("between", [b"\n", b"\r\n", b" ", b""])
@pytest.mark.parametrize(("name", "one"), [("json", ONE), ("telegraf", TELEGRAF)])
def test_objects_one_after_the_other_are_named(name: str, one: bytes, between: bytes) -> None:
    """Lines of JSON in one message are called that, with the place of the second object and what to send instead."""
    said = refused(one + between + one + b"\n", name)
    second = len(one + between) + 1
    assert f"several JSON objects follow one another in one message, the second at byte {second};" in said
    assert "send each as a message, or JSON samples as an array or columnar" in said


@pytest.mark.parametrize("rest", [b"\n]", b"}", b"\n\x00", b", " + ONE])
def test_other_rests_are_not(rest: bytes) -> None:
    """What follows a sample and is no second object is told as it is."""
    assert "trailing characters" in refused(ONE + rest)
