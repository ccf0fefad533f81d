"""Series keep their index, however many others come between."""

from __future__ import annotations

import json
from hashlib import blake2b

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError
from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.naming import service_of
from pipeline.series import Kind
from pipeline.settings import IngestSettings

NAMES = st.text(min_size=1, max_size=9)

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


@given(
    NAMES,
    st.dictionaries(NAMES, st.text(max_size=9), max_size=4),
    st.sampled_from([None, *Kind]),
    st.none() | st.text(max_size=3),
)
def test_identity_and_canonical_bytes_are_of_the_whole_series(
    name: str, labels: dict[str, str], kind: Kind | None, unit: str | None
) -> None:
    """Whatever is put together from parts: as the same texts are encoded in one, with sorted keys."""
    catalog = SeriesCatalog(IngestSettings(), 4)
    index = catalog.intern(name, labels, None, kind, unit)
    told = json.loads(catalog.series[index])
    assert told["name"] == name
    kept = {label: text for label, text in labels.items() if text}
    assert told["labels"] == {**kept, "service": service_of(kept, None, IngestSettings())}
    assert catalog.series[index] == msgspec.json.encode(told, order="sorted")
    hashed = msgspec.json.encode((name, told["labels"]), order="sorted")
    assert catalog.series.identity[index] == int.from_bytes(blake2b(hashed, digest_size=8).digest(), "little")
    assert catalog.series.size[index] == len(catalog.series[index])


@pytest.mark.parametrize("text", ["a", "é", "漢", '"', "\n"])
def test_labels_may_be_just_so_long(text: str) -> None:
    """The bound is of their UTF-8, not of how they are spelt in JSON, nor of the service that is added."""
    size = len(text.encode())
    catalog = SeriesCatalog(IngestSettings(max_label_bytes=400), 4)
    within = (400 - len("up") - len("a")) // size
    catalog.intern("up", {"a": text * within}, None, None, None)
    with pytest.raises(DecodeError, match=f"are {3 + (within + 1) * size} bytes long"):
        catalog.intern("up", {"a": text * (within + 1)}, None, None, None)


def test_the_service_may_be_just_so_long() -> None:
    """The key is no label that came, and is held to the same bound."""
    catalog = SeriesCatalog(IngestSettings(max_label_bytes=400), 4)
    within = 400 - len("up") - len("service")
    catalog.intern("up", {}, b"k" * within, None, None)
    with pytest.raises(DecodeError, match=r"ingest\.max_label_bytes"):
        catalog.intern("up", {}, b"k" * (within + 1), None, None)
