"""What the detectors see: one closed frame of all services, and what they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from models.contracts import Shape
    from pipeline.records import Detector, Severity


@dataclass(frozen=True, slots=True)
class ClosedFrame:
    """A frame [start, end), times in ms; rows are service rows, columns signals.

    `values` float64[rows, signals] (NaN without data), `reported` bool[rows, signals]: a series behind the signal had a
    sample, `alive` bool[rows]: whether the row holds a service, `sampled` bool[rows]: any sample at all.
    """

    start: int
    end: int
    values: npt.NDArray[np.float64]
    reported: npt.NDArray[np.bool_]
    alive: npt.NDArray[np.bool_]
    sampled: npt.NDArray[np.bool_]


class Contributor(NamedTuple):
    """A signal that takes part in what is odd about several: its share of it, its value and what was expected.

    lower, upper: ends of the expected band, NaN where what judges has none.
    """

    signal: str
    share: float
    observed: float
    expected: float
    lower: float = float("nan")
    upper: float = float("nan")


class Flag(NamedTuple):
    """One detector fires on one signal of one service in this frame.

    `column` is the signal's, or `WHOLE_SERVICE` or `TOGETHER`. `since` is when the condition began to hold (ms), where
    the detector knows it. `shape` is what it looks like, where the detector tells. `settled`: from now on this is the
    normal.
    """

    row: int
    column: int
    detector: Detector
    severity: Severity
    score: float
    since: int
    rule: str | None = None
    threshold: float | None = None
    shape: Shape | None = None
    settled: bool = False
    contributors: tuple[Contributor, ...] = ()


WHOLE_SERVICE = -1
WHOLE_SERVICE_SIGNAL = "samples"
"""Name of the pseudo-signal that stands for all data of a service."""
TOGETHER = -2
TOGETHER_SIGNAL = "signals"
"""Name of the pseudo-signal that stands for all signals of a service taken together."""


class FrameDetector(Protocol):
    """Judges frames in order; keeps state by service row, all zero as new."""

    def judge(self, frame: ClosedFrame) -> Iterator[Flag]:
        """What fires in this frame."""
        ...

    def grow(self, rows: int) -> None:
        """Make room for service rows below `rows`."""
        ...

    def evict(self, rows: npt.NDArray[np.int32]) -> None:
        """These services are gone."""
        ...
