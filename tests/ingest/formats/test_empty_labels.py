"""An empty label is no label, as Prometheus has it, in every format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ingest.formats.labelled import MESSAGES, Labels
from tests.ingest.formats.reading import context, rows

labels_of = st.dictionaries(st.sampled_from(["a", "b", "job", "le", "é"]), st.sampled_from(["", "", "x", "ü"]))


@pytest.mark.parametrize("name", MESSAGES)
@given(labels=labels_of)
def test_what_sends_empty_labels_is_what_leaves_them_out(name: str, labels: Labels) -> None:
    """One series, whichever was met first, and none of its labels is empty."""
    full = {label: text for label, text in labels.items() if text}
    for first, then in ((labels, full), (full, labels)):
        given = context()
        [row] = rows(name, MESSAGES[name](first), given)
        assert rows(name, MESSAGES[name](then), given) == [row] == [("m_v", full, "gauge", 0, 1.0)]
        assert len(given.catalog) == 1
