"""Series keep their index, however many others come between."""

from __future__ import annotations

import pytest

from pipeline.errors import DecodeError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.settings import IngestSettings

MANY = 20_000
"""More than are remembered by their labels."""


def test_a_series_has_one_index() -> None:
    """Met again at once, or after more others than are remembered by labels, in whatever order its labels come."""
    catalog = SeriesCatalog(IngestSettings(), 4)

    def index(number: int) -> int:
        return catalog.intern("up", {"job": "a", "instance": str(number)}, None, None, None)

    first = [index(number) for number in range(MANY)]
    assert first == list(range(MANY))
    assert [index(number) for number in range(MANY)] == first
    assert catalog.intern("up", {"instance": "7", "job": "a"}, None, None, None) == first[7]
    catalog.clear()
    assert index(7) == 0


def test_the_key_tells_services_apart() -> None:
    """The same labels under another key are another series where the key names the service; kind and unit are none."""
    catalog = SeriesCatalog(IngestSettings(), 4)
    asked = [(None, None, None), (b"a", None, None), (b"b", None, None), (None, "counter", None), (b"b", None, "s")]
    assert [catalog.intern("up", {"x": "y"}, *one) for one in asked] == [0, 1, 2, 0, 2]


def test_what_is_refused_is_refused_again() -> None:
    """A refusal is not remembered as a series."""
    catalog = SeriesCatalog(IngestSettings(max_labels=1), 4)
    for _ in range(2):
        with pytest.raises(DecodeError):
            catalog.intern("up", {"a": "1", "b": "2"}, None, None, None)
    assert len(catalog) == 0
