from __future__ import annotations

import pytest

from pipeline.ingest.naming import service_of
from pipeline.settings import IngestSettings


@pytest.mark.parametrize(
    ("labels", "key", "service"),
    [
        ({"service": "shop", "job": "other"}, b"key", "shop"),
        ({"job": "shop"}, b"key", "shop"),
        ({"host": "web-1"}, b"shop", "shop"),
        ({"host": "web-1"}, "caf\u00e9".encode(), "caf\u00e9"),
        ({"host": "web-1"}, b"\x9a\x01\xff\x00\x7f\x03\x88\x21", "web-1"),
        ({"host": "web-1"}, b"\x00\x01\x02\x03", "web-1"),
        ({"host": "web-1"}, b"", "web-1"),
        ({}, None, "unknown"),
    ],
)
def test_the_service_is_the_first_that_is_named(labels: dict[str, str], key: bytes | None, service: str) -> None:
    """Labels, then the key, then the host; a key that is no text, such as a hash, names nobody."""
    assert service_of(labels, key, IngestSettings()) == service
