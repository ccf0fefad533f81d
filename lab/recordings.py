"""Recorded runs: samples in long form, and what was done when; replayed through the stages without a lab."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from lab.announcements import announced, applied
from lab.faults import FAULTS
from lab.flow import Advice
from lab.samples import read, write
from lab.scenarios import SCENARIOS, USUAL
from pipeline.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.samples import Row

RECORDINGS = Path(__file__).parent / "recordings"
"""The runs that come with the lab."""
_KEY = b"duri-lab"


@dataclass(frozen=True)
class Story:
    """Which fault under which load, when it was injected (ms), and when the advice got which answer, if any.

    `service` is the one that the advice was for, which the answer was given to; empty where nobody has noted it.
    """

    fault: str
    injected_at: int
    applied_at: int | None = None
    answer: str = "own"
    scenario: str = USUAL.name
    service: str = ""

    def answered(self, advice: Advice) -> dict[str, Any] | None:
        """The first choice that the answer is for: that service's, where a fault shows in several of them."""
        return advice.first(self.service)


def record(path: Path, story: Story, rows: Sequence[Row]) -> None:
    """Write a run."""
    write(path, rows, {_KEY: json.dumps(asdict(story)).encode()})


def story_of(path: Path) -> Story:
    """What the run was. Raises FileError for what is no recording."""
    try:
        return Story(**json.loads((pq.read_schema(path).metadata or {})[_KEY]))
    except (OSError, pa.ArrowInvalid, KeyError, ValueError, TypeError) as error:
        raise FileError(f"{path} is not what `duri lab prove --record` writes: {error!r}") from error


def replay(path: Path) -> Advice:
    """The run again, scrape by scrape, until there is advice, or an outcome where it was applied, or the end.

    What was applied is answered for the service that it was done to.
    """
    story, rows = story_of(path), read(path)
    fault = FAULTS[story.fault]
    advice = Advice(SCENARIOS[story.scenario], [one for one in rows if one.ts < story.injected_at])
    for announcement in announced(fault, story.injected_at, rows[-1].ts + 1):
        advice.tell(announcement, story.injected_at)
    answered: str | None = None
    for ts, scrape in groupby((one for one in rows if one.ts >= story.injected_at), key=lambda one: one.ts):
        first = story.answered(advice)
        if answered is None and first is not None:
            if story.applied_at is None:
                break
            if ts > story.applied_at:
                answered = str(first["id"])
                advice.tell(applied(answered, story.applied_at), story.applied_at)
        advice.take(list(scrape))
        if answered is not None and advice.outcome(answered) is not None:
            break
    return advice
