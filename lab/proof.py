"""What one run of the closed loop has shown."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from lab.scenarios import USUAL


class Answer(enum.StrEnum):
    """What is done with the first choice before it is said to be applied."""

    OWN = "own"
    """Its own commands: the outcome is to be `verified` where they help."""
    NOTHING = "nothing"
    """Wrong advice of the one kind, which changes nothing: the outcome is to be `no_effect`."""
    HARM = "harm"
    """Wrong advice of the other kind: the service gets slower by 600 ms a request, and it is to be `regressed`."""


@dataclass
class Proof:
    """What came of one fault. `seconds` from injection to advice in the lab's time; p95 in s, as users saw it."""

    fault: str
    answer: str = Answer.OWN
    kafka: bool = False
    scenario: str = USUAL.name
    finding: str | None = None
    kind: str | None = None
    service: str | None = None
    right: bool = False
    in_top_3: bool = False
    seconds: float | None = None
    early: int = 0
    early_said: list[str] = field(default_factory=list)
    """What was advised in the healthy phase."""
    standing: int = 0
    p95_before: float | None = None
    p95_during: float | None = None
    p95_after: float | None = None
    p95_undone: float | None = None
    """Once the change was undone, the fault standing."""
    target: str | None = None
    """The signal by which the advice is verified."""
    levels: dict[str, float | None] = field(default_factory=dict)
    """Its median `before`, `during`, `after` and `undone`, as the p95."""
    ran: list[str] = field(default_factory=list)
    by_hand: bool = False
    outcome: str | None = None
    """What the verification came to."""
    note: str = ""
    undo_ran: list[str] = field(default_factory=list)
    """Commands of the undo: of what was verified, or of the advice that followed what had `regressed`."""
    knobs_differ: dict[str, list[str | None]] | None = None
    """Knobs that differ once the undo was run, with their values before the change and then; None: not looked at."""
    undo_outcome: str | None = None
    """What came of the undo that was advised."""
    refused: str = ""
    """A command of the advice or its undo that was refused, and why."""
    skipped: str | None = None
    applied_at: float | None = None
    """s since injection in the wall's time."""
    trace: list[tuple[float, float | None]] = field(default_factory=list)
    """(s since injection in the wall's time, p95 of the second) of the fault's service."""
