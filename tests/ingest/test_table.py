"""The table of series, placed in compiled code: what hashlib and the reference spelling say of the same series."""

from __future__ import annotations

from hashlib import blake2b as reference
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.newcomers import Newcomers
from pipeline.ingest.rows import Column, Named
from pipeline.ingest.scan.blake2b import BLOCK, blake2b
from pipeline.series import Kind
from pipeline.settings import IngestSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

MANY = 3000
"""More than the table holds, and than are placed, at once."""


@given(st.integers(0, 5 * BLOCK), st.integers(0, 9), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_hashes_as_hashlib_does(size: int, at: int, random: object) -> None:
    """Of any length, wherever in the array it stands, and whatever was behind it there."""
    text = np.frombuffer(random.randbytes(at + size + 2 * BLOCK), np.uint8).copy()  # type: ignore[attr-defined]
    told = text[at : at + size].tobytes()
    assert int(blake2b(text, at, size)) == int.from_bytes(reference(told, digest_size=8).digest(), "little")


NAMES = st.text(min_size=1, max_size=6)
TEXTS = st.lists(st.floats(allow_nan=False).map(repr), min_size=1, max_size=5)


@pytest.mark.parametrize("label", ["le", "quantile"])
@given(name=NAMES, labels=st.dictionaries(NAMES | st.just("le"), st.text(max_size=6), max_size=4), texts=TEXTS)
@settings(deadline=None)
def test_series_of_a_point_are_those_placed_one_by_one(
    label: str, name: str, labels: dict[str, str], texts: Sequence[str]
) -> None:
    """Whatever labels stand before and behind the one in which they differ."""
    columns = [
        Column("_count", Kind.COUNTER, (1.0,)),
        Column("_bucket", Kind.BUCKET, [0.0] * len(texts), label, texts),
    ]
    together, alone = (SeriesCatalog(IngestSettings(), 4) for _ in range(2))
    found = together.intern_all(Named(name, labels, None), columns, None)
    wanted = [alone.place(name + "_count", labels, None, Kind.COUNTER, None)]
    wanted += [alone.place(name + "_bucket", {**labels, label: text}, None, Kind.BUCKET, None) for text in texts]
    assert found.tolist() == wanted
    assert list(together.series) == list(alone.series)
    assert together.series.identity.tolist() == alone.series.identity.tolist()
    assert together.series.partition.tolist() == alone.series.partition.tolist()


def test_a_label_that_names_the_service_tells_each_series_its_own() -> None:
    """Where the settings say that `le` is the service, buckets are of many services."""
    catalog = SeriesCatalog(IngestSettings(service_labels=["le"]), 4)
    column = Column("_bucket", Kind.BUCKET, (1.0, 2.0), "le", ("1", "+Inf"))
    catalog.intern_all(Named("m", {}, None), [column], None)
    assert [b'"service":"1"' in catalog.series[0], b'"service":"+Inf"' in catalog.series[1]] == [True, True]


def test_many_at_once_keep_what_was_there() -> None:
    """The table grows while they are placed; those that are known stay, those that come twice are one."""
    catalog, alone = (SeriesCatalog(IngestSettings(), 4) for _ in range(2))
    names = [f"n{number % (MANY - 7)}" for number in range(MANY)]
    catalog.place("n5", {"a": "b"}, None, None, None)
    alone.place("n5", {"a": "b"}, None, None, None)
    newcomers, labelled = Newcomers(catalog), catalog.labelled({"a": "b"}, None)
    for name in names:
        newcomers.add(catalog.frame(name, labelled, None, None), labelled)
    found = newcomers.placed().tolist()
    assert found == [alone.place(name, {"a": "b"}, None, None, None) for name in names]
    assert len(catalog) == MANY - 7
    assert list(catalog.series) == list(alone.series)
    index = np.array([17, 3, 17])
    assert catalog.series.canonical(index).to_pylist() == [catalog.series[at] for at in index]
    assert [catalog.series.find(int(one)) for one in catalog.series.identity] == list(range(len(catalog)))
    assert catalog.series.find(1) is None
