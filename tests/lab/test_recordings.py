"""Every recorded run of the lab through the three stages: the first choice names the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.faults import FAULTS
from lab.recordings import replay, story_of

RECORDINGS = sorted((Path(__file__).parents[2] / "lab" / "recordings").glob("*.parquet"))


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) >= 1


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_first_choice_of_a_recorded_run_names_the_truth(path: Path) -> None:
    fault = FAULTS[story_of(path).fault]
    first = replay(path).first()
    if not fault.finding:
        assert first is None
        return
    assert first is not None
    assert (first["why"]["findings"][0], first["kind"]) == (fault.finding, fault.kind)
