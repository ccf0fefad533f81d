"""What a rule may ask of one service in one frame: the variables of the catalogue's expressions.

    signals      value by signal, where there is one
    expected     what the detectors expected
    usual        median of the hour before the incident; else what was expected; else the guide's baseline
    slope        trend, unit per second          steadiness  how straight it is, 0 to 1 (R²)
    peak         highest value of the last one to two weeks
    until        seconds until the signal reaches its limit, or `error_budget` is used up, where that is in sight
    settings     settings gauges, the guide's default where a service does not publish one
    rising, falling  lists of signals with an open anomaly of at least warning severity
    symptom      slow, failing, busier, quieter (truth values)
    callees      slow, failing: whether a service that this one calls is
    latest       by kind of change: the last one shortly before the incident (version, previous_version, summary, age_s)
    before       value by signal when the change was made (in verifications alone)

Numbers are CEL doubles: write 2.0, not 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipeline.advise.symptoms import qualifying, symptoms
from pipeline.records import Direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.advise.frames import Frame, OpenAnomaly
    from pipeline.advise.history import Trend
    from pipeline.advise.rules.rule import SettingEntry
    from pipeline.records import RunsOut

BUDGET: Final = "error_budget"
"""Name of the error budget among the signals of `until`."""
BUSIER: Final = 1.3
"""Request rate over the usual one from which a service counts as busier; its inverse as quieter."""
PLACEHOLDERS: Final = frozenset(
    {"service", "system", "current", "recommended", "lower", "upper", "unit", "version", "previous_version"}
)
"""Names that every template may use, beside the rule's own values."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One service in one frame, as the rules see it."""

    service: str
    frame: Frame
    settings: Mapping[str, float]
    assumed: frozenset[str]
    """Settings that no gauge told."""
    usual: Mapping[str, float]
    trends: Mapping[str, Trend]
    peaks: Mapping[str, float]
    callees_slow: bool = False
    callees_failing: bool = False
    latest: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)
    until: Mapping[str, float] = field(default_factory=dict)
    runs_out: Sequence[RunsOut] = ()

    def signals(self) -> dict[str, float]:
        """Value by signal, where there is one."""
        return values_of(self.frame)

    def variables(self) -> dict[str, Any]:
        """The variables of the catalogue's expressions."""
        signals = self.signals()
        expected = {name: signal.expected for name, signal in self.frame.signals.items() if signal.expected is not None}
        slow, failing = symptoms(self.frame.anomalies)
        return {
            "signals": signals,
            "expected": expected,
            "usual": dict(self.usual),
            "slope": {name: trend.slope for name, trend in self.trends.items()},
            "steadiness": {name: trend.steadiness for name, trend in self.trends.items()},
            "peak": dict(self.peaks),
            "settings": dict(self.settings),
            "rising": _moved(self.frame.anomalies, Direction.UP),
            "falling": _moved(self.frame.anomalies, Direction.DOWN),
            "symptom": {"slow": slow, "failing": failing, **_load(signals, self.usual)},
            "callees": {"slow": self.callees_slow, "failing": self.callees_failing},
            "latest": dict(self.latest),
            "before": dict(self.before),
            "until": dict(self.until),
        }


def values_of(frame: Frame) -> dict[str, float]:
    """Value by signal, where there is one."""
    return {name: signal.value for name, signal in frame.signals.items() if signal.value is not None}


def with_defaults(
    settings: Mapping[str, float], entries: Mapping[str, SettingEntry]
) -> tuple[dict[str, float], frozenset[str]]:
    """Settings gauges completed with the catalogue's defaults, and which of them are assumed.

    A limit that is switched off has no value: rules that need one do not speak then.
    """
    assumed = {
        name: entry.default for name, entry in entries.items() if entry.default is not None and name not in settings
    }
    told = {
        name: value
        for name, value in settings.items()
        if value > 0.0 or name not in entries or not entries[name].zero_is_none
    }
    return {**assumed, **told}, frozenset(assumed)


def sample_variables(signals: Iterable[str], settings: Iterable[str]) -> dict[str, Any]:
    """Variables with every name known, to try expressions on."""
    names = list(signals)
    ones = dict.fromkeys(names, 1.0)
    change = {"id": "1", "version": "2", "previous_version": "1", "summary": "", "age_s": 60.0}
    kinds = ("deploy", "config", "scale", "restart", "other")
    return {
        **dict.fromkeys(("signals", "expected", "usual", "slope", "steadiness", "peak", "before"), ones),
        "until": {**ones, BUDGET: 1.0},
        "settings": dict.fromkeys(settings, 1.0),
        "rising": names,
        "falling": names,
        "symptom": dict.fromkeys(("slow", "failing", "busier", "quieter"), True),
        "callees": {"slow": True, "failing": True},
        "latest": dict.fromkeys(kinds, change),
        "recommended": 1.0,
        "current": 1.0,
    }


def _moved(anomalies: Iterable[OpenAnomaly], direction: Direction) -> list[str]:
    return sorted({anomaly.signal for anomaly in qualifying(anomalies) if anomaly.direction is direction})


def _load(signals: Mapping[str, float], usual: Mapping[str, float]) -> dict[str, bool]:
    now, before = signals.get("http.rps"), usual.get("http.rps")
    if now is None or before is None:
        return {}
    return {"busier": now > BUSIER * before, "quieter": now * BUSIER < before}
