from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError
from pipeline.ingest.limits import Limits
from pipeline.ingest.stage import IngestStage
from pipeline.ingest.transport import unfold
from pipeline.settings import IngestSettings
from tests.builders import START, message
from tests.ingest.test_ingest_stage import dead, reason

BODY = json.dumps([{"name": "up", "labels": {"service": "a"}, "ts": START, "value": 1.0}] * 20).encode()
PACKED = {
    "gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "zstd": bytes(cramjam.zstd.compress(BODY)),
    "snappy": bytes(cramjam.snappy.compress_raw(BODY)),
    "identity": BODY,
}
MEGABYTES = 50
BOMBS = {
    "gzip": gzip.compress(bytes(MEGABYTES << 20)),
    "deflate": zlib.compress(bytes(MEGABYTES << 20)),
    "zstd": bytes(cramjam.zstd.compress(bytes(MEGABYTES << 20))),
    "snappy": bytes(cramjam.snappy.compress_raw(bytes(MEGABYTES << 20))),
}


def limits(**settings: object) -> Limits:
    return Limits(IngestSettings(**settings))


def stage(**settings: object) -> IngestStage:
    return IngestStage(IngestSettings(**settings), source="duri.metrics/0", samples_partitions=1)


@pytest.mark.parametrize("encoding", PACKED)
def test_compressed_messages_are_unfolded(encoding: str) -> None:
    """`content-encoding` says how a message is compressed, whatever its format; upper case is as good."""
    ingest = stage()
    assert not dead(ingest.step([message(0, PACKED[encoding], content_encoding=encoding.upper())]))
    assert ingest.statistics()["samples_total"] == 20


def test_framed_snappy_is_unfolded() -> None:
    """Snappy has a stream format besides blocks; the first bytes tell."""
    assert unfold(bytes(cramjam.snappy.compress(BODY)), "snappy", limits()) == BODY


@pytest.mark.parametrize("encoding", BOMBS)
def test_bombs_take_no_more_memory_than_the_limit(encoding: str) -> None:
    """What unfolds beyond `max_decompressed_bytes` is refused before it is there."""
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"ingest\.max_decompressed_bytes") as caught:
            unfold(BOMBS[encoding], encoding, limits(max_decompressed_bytes=1 << 20))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.reason == "size"


def test_a_message_at_the_limit_passes() -> None:
    """The limit itself is allowed."""
    body = bytes(1 << 20)
    for encoding, packed in (("gzip", gzip.compress(body)), ("zstd", bytes(cramjam.zstd.compress(body)))):
        assert unfold(packed, encoding, limits(max_decompressed_bytes=len(body))) == body


def test_unknown_encodings_are_named() -> None:
    """The dead letter says which encodings are read."""
    [letter] = dead(stage().step([message(0, BODY, content_encoding="br")]))
    assert reason(letter) == "encoding"
    assert b"known: gzip, deflate, zstd, snappy" in dict(letter.headers)["duri.error.message"]


@pytest.mark.parametrize("encoding", [name for name in PACKED if name != "identity"])
def test_broken_compression_is_a_dead_letter_as_it_came(encoding: str) -> None:
    """The letter has the bytes and the header that were sent, so that a replay is the same message."""
    broken = PACKED[encoding][:-5]
    [letter] = dead(stage().step([message(0, broken, content_encoding=encoding)]))
    assert reason(letter) == "encoding"
    assert letter.value == broken
    assert dict(letter.headers)["content-encoding"] == encoding.encode()


@given(st.sampled_from(sorted(BOMBS)), st.binary(max_size=60), st.data())
def test_any_bytes_unfold_or_are_refused(encoding: str, payload: bytes, data: st.DataObject) -> None:
    """Random bytes, and compressed ones that were changed, give bytes below the limit or a DecodeError."""
    changed = bytearray(PACKED[encoding])
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] = data.draw(st.integers(0, 255))
    for one in (payload, bytes(changed)):
        try:
            assert len(unfold(one, encoding, limits(max_decompressed_bytes=10_000))) <= 10_000
        except DecodeError as error:
            assert error.reason in ("encoding", "size")  # noqa: PT017  both ends are allowed
