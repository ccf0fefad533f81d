"""Every recorded run of the lab through the three stages: the first choice names the truth, and so does the verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from lab.cli import lab
from lab.faults import FAULTS
from lab.recordings import RECORDINGS, story_of
from lab.replaying import judged

if TYPE_CHECKING:
    from pathlib import Path

FILES = sorted(RECORDINGS.glob("*.parquet"))


def test_every_fault_and_every_control_is_recorded() -> None:
    """And wrong advice of both kinds."""
    stories = [story_of(path) for path in FILES]
    assert {one.fault for one in stories} == set(FAULTS)
    assert {one.answer for one in stories} == {"own", "nothing", "harm"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recorded_run_gets_the_right_advice_and_the_right_verdict(path: Path) -> None:
    """Controls get none."""
    found = judged(path)
    assert found.right, found.first
    assert found.as_true, found.outcome


def test_replay_prints_a_row_a_run_and_what_is_no_recording_is_told(tmp_path: Path) -> None:
    """With exit status 0 where all is right."""
    result = CliRunner().invoke(lab, ["replay", str(RECORDINGS / "healthy.parquet")], env={"COLUMNS": "120"})
    assert (result.exit_code, "none" in result.output) == (0, True)
    wrong = tmp_path / "wrong.parquet"
    wrong.write_bytes(b"nothing of the kind")
    assert "duri lab prove --record" in str(CliRunner().invoke(lab, ["replay", str(wrong)]).exception)
