"""Recorded runs judged again: the first choice, how soon it came, and the verdict, in seconds and without a lab."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from lab.faults import FAULTS
from lab.ledger import names
from lab.recordings import replay, story_of
from lab.report import TRUTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Replayed(NamedTuple):
    """What the stages of today say of a recorded run."""

    name: str
    first: str
    """Finding and knob of the first choice, or none."""
    right: bool
    seconds: float | None
    """From injection to the first choice, in the lab's time."""
    outcome: str
    """The verdict on the answer, where the run has one."""
    as_true: bool
    """Whether the verdict is the truth; true as well where the run has none."""


def judged(path: Path) -> Replayed:
    """Send a recorded run through the stages. Raises FileError for what is no recording."""
    story = story_of(path)
    fault, advice = FAULTS[story.fault], replay(path)
    first = story.answered(advice) or advice.first()
    if first is None:
        return Replayed(path.stem, "none", fault.control, None, "", as_true=True)
    finding, kind = names(first)
    seconds = datetime.fromisoformat(first["created"]).timestamp() - story.injected_at / 1000
    right = (finding, kind) == (fault.finding, fault.kind)
    outcome = advice.outcome(first["id"])
    if story.applied_at is None:
        return Replayed(path.stem, f"{finding} {kind}", right, seconds, "", as_true=True)
    result = "none yet" if outcome is None else str(outcome["result"])
    return Replayed(path.stem, f"{finding} {kind}", right, seconds, result, as_true=result == TRUTH[story.answer])


def table(found: Sequence[Replayed]) -> Table:
    """A row a run."""
    shown = Table("run", "first choice", "right", "after s", "verdict", "true", box=None, header_style="bold cyan")
    for one in found:
        seconds = "" if one.seconds is None else f"{one.seconds:.0f}"
        shown.add_row(
            one.name, one.first, _yes(one.right), seconds, one.outcome, _yes(one.as_true) if one.outcome else ""
        )
    return shown


def _yes(holds: bool) -> str:
    return "[green]yes[/]" if holds else "[bold red]no[/]"
