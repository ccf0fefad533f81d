"""The bank: the learner that detection runs on every signal and every watched series."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from models.columns import Columnar, Columns
from models.contracts import Verdicts
from models.online import kernel, novelty, season, warmth
from models.online.clock import offset_index, zone_offsets
from models.online.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.columns import Array
    from models.contracts import Float64s, Int32s, Int64s


@dataclass(frozen=True, slots=True, kw_only=True)
class BankSettings:
    """What a person may want to change; the defaults need no tuning.

    Raises ValueError for a value outside the bounds given with its field.
    """

    timezone: str = "UTC"
    """IANA zone whose days and weeks the seasons follow, such as Europe/Berlin."""
    sensitivity: float = 1.0
    """0.25 to 4: alarms are raised at 1 / sensitivity of the usual strength of evidence."""
    warmup_s: float = 900.0
    """0 to 604800 s: a series is not judged before this age (and some 30 samples)."""
    rearm_s: float = 60.0
    """0 to 86400 s: an alarm ends when evidence was weak for so long, and for 12 samples."""

    def __post_init__(self) -> None:
        _within("sensitivity", self.sensitivity, 0.25, 4.0)
        _within("warmup_s", self.warmup_s, 0.0, 604_800.0)
        _within("rearm_s", self.rearm_s, 0.0, 86_400.0)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low:g} to {high:g}, not {value!r}")


_KNOWN: Final = ("row", "profile", "bits")
_LEFT_IN_4: Final = ("recent", "novel_alarms", "lone_spikes", "spiked", "novel_since")
_NEW_IN_4: Final = {
    "f8": ("usual_offset", "run_from", "run_level", "run_offset", "run_spread"),
    "f4": (
        *("trust", "bursts", "bursting", "away", "longest_away", "rising", "run", "run_units", "hushed"),
        *("days", "day_left", "spike_today", "spike_usual", "spike_varies", "drift_today", "drift_usual"),
        *("drift_varies", "apart_today", "apart_usual", "apart_varies"),
    ),
}
_NO_LONG_MEAN: Final = 6.0  # deviations, more than any
_NEW_IN_5: Final = {
    "f4": (
        *("drifts_today", "drifts", "drifting"),
        *("frequent_bursts", "frequent_bursting", "frequent_away", "frequent_longest"),
    ),
}


def _with_routine(columns: Mapping[str, Array]) -> Mapping[str, Array]:
    """Version 3 to 4: levels, seasons and what was seen stay; what a usual day holds is learned from now on."""
    kept = {name: column for name, column in columns.items() if name.removeprefix("row.") not in _LEFT_IN_4}
    return _with_zeros(kept, _NEW_IN_4)


def _with_drifts(columns: Mapping[str, Array]) -> Mapping[str, Array]:
    """Version 4 to 5: how many drifts a usual day holds, and frequent bursts, are learned from now on."""
    return _with_zeros(columns, _NEW_IN_5)


def _with_roughness(columns: Mapping[str, Array]) -> Mapping[str, Array]:
    """Version 5 to 6: what is usual is at first what was of late."""
    return {**columns, "row.usually_rough": columns["row.rough"], "row.late": columns["row.level"]}


def _with_long_means(columns: Mapping[str, Array]) -> Mapping[str, Array]:
    """Version 6 to 7: what long means a usual day holds is learned from now on; until then they raise no alarm."""
    new = _with_zeros(columns, {"f4": ("apart", "apart_today", "apart_varies")})
    return {**new, "row.apart_usual": np.full(len(columns["row.n"]), _NO_LONG_MEAN, np.float32)}


def _with_zeros(columns: Mapping[str, Array], new: Mapping[str, Sequence[str]]) -> Mapping[str, Array]:
    rows = len(columns["row.n"])
    return {**columns, **{f"row.{name}": np.zeros(rows, dtype) for dtype, names in new.items() for name in names}}


class Bank(Columnar):
    """Novelty and magnitude of many series behind one answer (`OnlineLearner`); 1.9 KB a series.

    `tuning` is for searches; what it says of the settings' fields is overridden. Raises ValueError for an unknown time
    zone.
    """

    version: int = 7

    def __init__(self, settings: BankSettings | None = None, *, tuning: Tuning | None = None) -> None:
        settings = settings or BankSettings()
        usual = tuning or Tuning()
        self._tuning = usual._replace(
            warmup_s=settings.warmup_s,
            rearm_s=settings.rearm_s,
            spike=usual.spike / settings.sensitivity,
            drifted=usual.drifted / settings.sensitivity,
            novel=usual.novel / settings.sensitivity,
        )
        self._offsets = zone_offsets(settings.timezone)
        self._columns = Columns(
            self.version,
            {
                "row": (kernel.ROW, ()),
                "profile": ("f4", (season.PROFILE,)),
                "bits": ("u8", (novelty.CHANNELS, 2, novelty.WORDS)),
                "wait": ("u1", (novelty.DELAY, novelty.CHANNELS, 2)),
            },
            {3: _with_routine, 4: _with_drifts, 5: _with_roughness, 6: _with_long_means},
        )

    @property
    def bytes_per_series(self) -> int:
        """Bytes of state of one series."""
        return self._columns.bytes_per_slot

    def samples(self, slots: Int32s) -> Float64s:
        """How many samples each of these series has learned, float64[n]."""
        found: Float64s = self._columns["row"]["n"][slots]
        return found

    def statistics(self, slots: Int32s) -> tuple[Float64s, Float64s]:
        """Usual level of each series, float64[n], and float64[n, warmth.STATISTICS] of it: what priors are made of."""
        return warmth.statistics(warmth.Known(*(self._columns[name][slots] for name in _KNOWN)), self._tuning)

    def start_warm(self, slots: Int32s, at: int, prior: Float64s) -> None:
        """Let series that have learned `warmth.OWN_SAMPLES`, the last of them at `at` ms, begin like their population.

        slots int32[n], distinct; prior float64[n, warmth.STATISTICS]. They are judged from the next sample on.
        """
        local = at + int(self._offsets.shift[offset_index(self._offsets, at, 0)])
        state = warmth.Known(*(self._columns[name] for name in _KNOWN))
        warmth.start(state, slots, at / 1000.0, season.place(local).day, prior, self._tuning)

    def score_learn(self, slots: Int32s, ts: Int64s, values: Float64s) -> Verdicts:
        """Score each sample with what was known before it, then learn it.

        slots int32[n], ts int64[n] ms, values float64[n] finite. Raises IndexError for a slot never grown.
        """
        columns, n = self._columns, len(slots)
        columns.check(slots)
        bits, wait = (columns[name] for name in ("bits", "wait"))
        state = kernel.State(
            columns["row"],
            columns["profile"],
            # Not -1, which no array without rows allows.
            bits.reshape(len(bits), math.prod(bits.shape[1:])),
            wait.reshape(len(wait), math.prod(wait.shape[1:])),
        )
        out = kernel.Output(
            np.zeros(n, np.float32),
            np.zeros(n, np.bool_),
            np.empty(n),
            np.empty(n),
            np.empty(n),
            np.zeros(n, np.int8),
            np.zeros(n, np.bool_),
        )
        kernel.run(self._tuning, self._offsets, state, kernel.Input(slots, ts, values), out)
        return Verdicts(*out)
