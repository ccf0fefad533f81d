"""Figures as plain values, for tables and JSON: rounded, and None for what there is no figure of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.contracts import Bools
    from models.evaluation import EventCounts

    Figures = dict[str, float | int | None]


def rounded(number: float, digits: int = 2) -> float | None:
    """A figure for print; None where it is not a number."""
    return round(number, digits) if math.isfinite(number) else None


def event_figures(counts: EventCounts) -> Figures:
    """Figures of events; a share of nothing is None."""
    return {
        "events": counts.events,
        "found": counts.found,
        "alarms": counts.episodes,
        "right": counts.right,
        "precision": rounded(counts.precision, 3) if counts.episodes else None,
        "recall": rounded(counts.recall, 3) if counts.events else None,
        "f1": rounded(counts.f1, 3) if counts.events else None,
        "delay_samples": rounded(counts.delay, 1),
        "false_alarms_per_day": rounded(counts.false_alarms_per_day, 3),
    }


def alarm_share(judged: Sequence[tuple[Bools, int]]) -> float | None:
    """Share of the samples in alarm, from alarms bool[n] and the first row that counts.

    Beside event figures it shows an alarm that never ends: by their rules such a one is right.
    """
    rows = np.concatenate([alarm[start:] for alarm, start in judged])
    return rounded(float(rows.mean()), 4) if len(rows) else None
