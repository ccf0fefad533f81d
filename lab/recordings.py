"""Recorded runs: samples in long form, and what was done when; replayed through the stages without a lab."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from lab.faults import FAULTS
from lab.flow import Advice
from lab.samples import read, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lab.samples import Row

_KEY = b"duri-lab"


@dataclass(frozen=True)
class Story:
    """Which fault, and when it was injected (ms)."""

    fault: str
    injected_at: int


def record(path: Path, story: Story, rows: Sequence[Row]) -> None:
    """Write a run."""
    write(path, rows, {_KEY: json.dumps(asdict(story)).encode()})


def story_of(path: Path) -> Story:
    """What the run was."""
    return Story(**json.loads(pq.read_schema(path).metadata[_KEY]))


def replay(path: Path) -> Advice:
    """The run again, scrape by scrape, until there is advice or the recording ends."""
    story, rows = story_of(path), read(path)
    fault = FAULTS[story.fault]
    advice = Advice([one for one in rows if one.ts < story.injected_at])
    if fault.deploy:
        advice.deployed(fault.service, story.injected_at)
    for _, scrape in groupby((one for one in rows if one.ts >= story.injected_at), key=lambda one: one.ts):
        advice.take(list(scrape))
        if advice.first() is not None:
            break
    return advice
