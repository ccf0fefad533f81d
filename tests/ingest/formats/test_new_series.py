"""What a message of new series may cost: as many as `ingest.max_series_per_message`, whatever it holds."""

from __future__ import annotations

import pytest

from pipeline.errors import DecodeError
from pipeline.ingest.formats.registry import by_name
from tests.ingest.formats.labelled import ALONE, many
from tests.ingest.formats.reading import context, decode

MOST = 5


@pytest.mark.parametrize("name", ALONE)
def test_too_many_new_series_are_refused_as_soon_as_they_are_too_many(name: str) -> None:
    """The rest of the message is not read: its labels are what takes time. The message is refused as a whole."""
    given = context(max_series_per_message=MOST, max_refused_pieces=10)
    with pytest.raises(DecodeError, match="max_series_per_message") as refused:
        by_name(name).decode(many(name, [{"a": str(number)} for number in range(200)]), given)
    assert refused.value.reason == "series"
    assert len(given.catalog) <= MOST + 1


@pytest.mark.parametrize("name", ALONE)
def test_as_many_series_as_may_be_pass_again_and_again(name: str) -> None:
    """A sample more of a known series is no series more; remote write counts its lists of samples, though."""
    given = context(max_series_per_message=MOST)
    labels = [{"a": str(number)} for number in range(MOST)]
    labels *= 1 if name.startswith("remote_write") else 2
    for _ in range(3):
        found, points = decode(name, many(name, labels), given)
        assert (len(found), len(points.refused)) == (len(labels), 0)


PIECES = {
    "influx": b"m,a=b " + b",".join(b"f%d=1" % number for number in range(200)) + b"\nm v=1",
    "telegraf": b'{"metrics":[{"name":"m","fields":{%s},"timestamp":1767225600},'
    b'{"name":"m","fields":{"v":1},"timestamp":1767225600}]}' % b",".join(b'"f%d":1' % number for number in range(200)),
}


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_of_too_many_series_is_refused_alone(name: str) -> None:
    """Before any of them is looked at; its neighbours pass."""
    given = context(max_series_per_message=MOST)
    found, points = decode(name, PIECES[name], given)
    assert [row[0] for row in found] == ["m_v"]
    assert [one.error.reason for one in points.refused] == ["series"]
    assert len(given.catalog) == 1
