"""Two backtests side by side: what fires in both and when, what only in one, and how often each rule fires."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import FileError
from pipeline.records import from_ms, to_ms
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_OPEN = 1 << 62
"""End of what is still open, ms."""


class Fired(NamedTuple):
    """An anomaly from its opening to its end (ms), with the detectors and rules that fired in it."""

    service: str
    signal: str
    start: int
    end: int
    by: frozenset[str]
    id: str


class Pair(NamedTuple):
    """The same trouble in both runs."""

    new: Fired
    current: Fired

    @property
    def earlier_s(self) -> float:
        """By how many seconds the new run is ahead; negative where it is behind."""
        return (self.current.start - self.new.start) / 1000


@dataclass(slots=True)
class Comparison:
    """What a change of rules, settings or models does."""

    both: list[Pair] = field(default_factory=list)
    only_new: list[Fired] = field(default_factory=list)
    only_current: list[Fired] = field(default_factory=list)
    rules: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Anomalies in which this detector or rule fired: in the new run, in the current one."""

    def summary(self) -> dict[str, Any]:
        """Counts, and the anomalies of each kind, in plain values."""
        ahead = [pair.earlier_s for pair in self.both]
        return {
            "both": len(self.both),
            "earlier": sum(seconds > 0 for seconds in ahead),
            "later": sum(seconds < 0 for seconds in ahead),
            "median_earlier_s": median(ahead) if ahead else None,
            "only_new": [_plain(fired) for fired in self.only_new],
            "only_current": [_plain(fired) for fired in self.only_current],
            "moved": [{**_plain(pair.new), "earlier_s": pair.earlier_s} for pair in self.both if pair.earlier_s],
            "fired_by": {name: {"new": new, "current": current} for name, (new, current) in self.rules.items()},
        }


def compare(new: Path, current: Path) -> Comparison:
    """Two folders that backtests of the same time have written. Raises FileError where one cannot be read."""
    return match(read_fired(new), read_fired(current))


def match(new: Sequence[Fired], current: Sequence[Fired]) -> Comparison:
    """Pair anomalies of one service and signal that overlap in time, each once, the earliest first."""
    result = Comparison()
    waiting: dict[tuple[str, str], list[Fired]] = {}
    for fired in sorted(current, key=lambda fired: fired.start):
        waiting.setdefault((fired.service, fired.signal), []).append(fired)
    for fired in sorted(new, key=lambda fired: fired.start):
        others = waiting.get((fired.service, fired.signal), [])
        found = next((other for other in others if other.start <= fired.end and fired.start <= other.end), None)
        if found is None:
            result.only_new.append(fired)
        else:
            others.remove(found)
            result.both.append(Pair(fired, found))
    result.only_current = sorted((fired for left in waiting.values() for fired in left), key=lambda fired: fired.start)
    counts = _by(new), _by(current)
    result.rules = {name: (counts[0][name], counts[1][name]) for name in sorted({*counts[0], *counts[1]})}
    return result


def read_fired(folder: Path) -> list[Fired]:
    """Anomalies of a backtest's folder. Raises FileError."""
    path = folder / f"{Topic.ANOMALIES}.jsonl"
    found: dict[str, Fired] = {}
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                found[record["id"]] = _fired(record)
    except (OSError, ValueError, KeyError) as error:
        raise FileError(
            f"{path}: cannot be read ({error!r}); name a folder that `duri backtest` has written"
        ) from error
    return list(found.values())


def _fired(record: dict[str, Any]) -> Fired:
    by = {firing["detector"] for firing in record["detectors"]} | {
        f"rule {firing['rule']}" for firing in record["detectors"] if firing["rule"]
    }
    end = record["closed_at"]
    return Fired(
        record["service"],
        record["signal"],
        to_ms(datetime.fromisoformat(record["opened_at"])),
        _OPEN if end is None else to_ms(datetime.fromisoformat(end)),
        frozenset(by),
        record["id"],
    )


def _by(fired: Iterable[Fired]) -> Counter[str]:
    return Counter(name for one in fired for name in one.by)


def _plain(fired: Fired) -> dict[str, Any]:
    return {
        "service": fired.service,
        "signal": fired.signal,
        "opened_at": from_ms(fired.start).isoformat(),
        "by": sorted(fired.by),
        "id": fired.id,
    }
