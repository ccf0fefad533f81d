from __future__ import annotations

import msgspec
import numpy as np

from pipeline.ingest.catalog import SeriesCatalog
from pipeline.ingest.formats.columnar import decode, sniff
from pipeline.ingest.points import Context
from pipeline.settings import IngestSettings
from pipeline.sources.columnar import Block, encode_columnar, encode_rows
from pipeline.sources.recording import series_of

SERIES = (series_of("requests_total", "duri_core", {"code": "200"}), series_of("memory_bytes", "duri_core", {}))


def test_one_scrape_needs_no_index():
    """Where row i is series i, the index is left out."""
    block = Block("duri_core", SERIES, np.array([1000], dtype=np.int64), np.array([[5.0, 7.5]]))
    message = msgspec.json.decode(encode_columnar(block))
    assert "index" not in message
    assert message["ts"] == [1000, 1000]
    assert message["value"] == [5.0, 7.5]
    assert message["series"][0] == {
        "name": "requests_total",
        "labels": {"code": "200", "service": "duri_core"},
        "kind": "counter",
        "unit": "",
    }


def test_rows_are_in_order_of_time_and_missing_ones_are_left_out():
    """Scrape by scrape; NaN writes nothing."""
    values = np.array([[1.0, np.nan], [2.0, 3.0]])
    message = msgspec.json.decode(encode_columnar(Block("s", SERIES, np.array([10, 20], dtype=np.int64), values)))
    assert message["index"] == [0, 0, 1]
    assert message["ts"] == [10, 20, 20]
    assert message["value"] == [1.0, 2.0, 3.0]


def test_ingest_reads_what_is_written():
    """The format's own decoder gives back every row."""
    ts = np.array([1_700_000_000_000, 1_700_000_030_000], dtype=np.int64)
    message = encode_columnar(Block("duri_core", SERIES, ts, np.array([[1.0, 2.0], [3.0, 4.0]])))
    assert sniff(message)
    points = decode(message, Context(SeriesCatalog(IngestSettings(), 4), b"duri_core", int(ts[-1])))
    np.testing.assert_array_equal(points.ts, np.repeat(ts, 2))
    np.testing.assert_array_equal(points.value, [1.0, 2.0, 3.0, 4.0])


def test_rows_may_name_any_series():
    """An index is written as it is given."""
    index, ts = np.array([1, 0]), np.array([5, 6], dtype=np.int64)
    message = msgspec.json.decode(encode_rows(SERIES, index, ts, np.array([1.0, 2.0])))
    assert message["index"] == [1, 0]
