"""Every recorded run of the lab through the three stages: the first choice names the truth, and so does the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.faults import FAULTS
from lab.recordings import replay, story_of
from lab.report import TRUTH

RECORDINGS = sorted((Path(__file__).parents[2] / "lab" / "recordings").glob("*.parquet"))


def test_there_are_recordings() -> None:
    assert len(RECORDINGS) >= 1


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_run_gets_the_right_advice_and_the_right_verdict(path: Path) -> None:
    story = story_of(path)
    fault, advice = FAULTS[story.fault], replay(path)
    first = advice.first()
    if not fault.finding:
        assert first is None
        return
    assert first is not None
    assert (first["why"]["findings"][0], first["kind"]) == (fault.finding, fault.kind)
    if story.applied_at is not None:
        outcome = advice.outcome(first["id"])
        assert outcome is not None
        assert outcome["result"] == TRUTH[story.answer]
