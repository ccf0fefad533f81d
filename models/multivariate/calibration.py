"""When a score is an alarm: smoothed, against what is usual for this row, with a bar that rises with each alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np

from models.columns import Columnar, Columns

if TYPE_CHECKING:
    from models.contracts import Bools, Float32s, Float64s, Int32s

ROW: Final = np.dtype(
    [
        ("smooth", "f8"),  # the score, smoothed
        ("usual", "f8"),  # centre of the smoothed score
        ("spread", "f8"),  # its mean absolute deviation
        ("fatigue", "f8"),  # past alarms, decaying
        ("count", "i4"),  # scores seen
        ("on", "i1"),  # in alarm
    ],
    align=True,
)
_SMOOTHING: Final = 0.2  # a unit: five minutes of one-minute frames
_RATE: Final = 0.001  # a unit
_BAR: Final = 6.0  # robust standard deviations of the smoothed score
_END: Final = 0.5  # of the bar, below which an alarm ends
_FATIGUE: Final = 0.25  # part by which each alarm raises the bar
_FORGETTING: Final = 0.001  # of it a unit
_YOUNG: Final = 30
_CLIP: Final = 4.0
_SIGMA: Final = 1.2533
_LEAST_SHARE: Final = 1e-3  # of the usual score, which no spread is below
_LARGEST: Final = 1e100
_TINY: Final = 1e-9


class Calibration(Columnar):
    """Alarms from the scores of any scorer, whatever their scale. Column: `row`, a record of `ROW`."""

    version = 1

    def __init__(self, unit: float, warmup: float, sensitivity: float) -> None:
        """`unit` is the part of a unit that passes between two scores; `warmup` units are not judged."""
        self._unit = unit
        self._warmup = warmup / unit
        self._bar = _BAR / sensitivity
        self._columns = Columns(self.version, {"row": (ROW, ())})

    def judge(self, slots: Int32s, raw: Float64s) -> tuple[Float32s, Bools]:
        """Judge raw scores float64[n] (NaN: none), then learn them.

        Gives the score float32[n], 0 (as ever) to 1, 0.5 at the bar, and the alarm bool[n].
        """
        self._columns.check(slots)
        score, alarm = np.zeros(len(slots), np.float32), np.zeros(len(slots), np.bool_)
        _judge(self._columns["row"], slots, raw, (self._unit, self._warmup, self._bar), score, alarm)
        return score, alarm


@numba.njit(cache=True, nogil=True)
def _judge(
    rows: Any, slots: Int32s, raw: Float64s, tuning: tuple[float, float, float], score: Float32s, alarm: Bools
) -> None:
    unit, warmup, usual_bar = tuning
    for i, slot in enumerate(slots):
        row = rows[slot]
        if not np.isfinite(raw[i]):
            continue
        row.fatigue *= 1.0 - _FORGETTING * unit
        value = min(max(raw[i], -_LARGEST), _LARGEST)
        row.smooth += max(_SMOOTHING * unit, 1.0 / (row.count + 1.0)) * (value - row.smooth)
        deviation = max(_SIGMA * row.spread, _LEAST_SHARE * abs(row.usual), _TINY)
        error = row.smooth - row.usual
        if row.count >= warmup:
            bar = usual_bar * (1.0 + _FATIGUE * row.fatigue)
            if row.on == 0 and error / deviation > bar:
                row.on = 1
                row.fatigue += 1.0
            elif row.on == 1 and error / deviation < _END * bar:
                row.on = 0
            score[i] = min(max(0.5 * error / (deviation * bar), 0.0), 1.0)
            alarm[i] = row.on == 1
        if row.count > _YOUNG:
            error = min(max(error, -_CLIP * deviation), _CLIP * deviation)
        rate = max(_RATE * unit, 1.0 / (row.count + 1.0))
        row.usual += rate * error
        row.spread += rate * (abs(error) - row.spread)
        row.count = min(row.count + 1, 1 << 30)
