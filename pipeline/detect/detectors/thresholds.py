"""`config/thresholds.yaml`: static rules and regression rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.configfile import in_file, load_model, nearest, read_yaml
from pipeline.errors import SettingsError
from pipeline.records import Severity
from pipeline.signals.patterns import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pipeline.signals.definitions import Definitions

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# How far inside its threshold a signal must come before a firing rule ends, where the rule does not say.
_HYSTERESIS = 0.05


def parse_duration(text: Any) -> int:
    """`30s`, `5m`, `1h`, `1d`, `250ms` as ms. Raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", str(text))
    if match is None:
        raise ValueError("a duration like 30s, 5m, 1h or 1d is wanted")
    return round(float(match[1]) * _UNITS_MS[match[2]])


Duration = Annotated[int, BeforeValidator(parse_duration)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    signal: str
    severity: Severity
    hold_ms: Duration = Field(alias="for")
    source: str = ""
    services: Pattern = ".*"

    def concerns(self, service: str) -> bool:
        """Whether the rule watches this service."""
        return re.fullmatch(self.services, service) is not None


class StaticRule(_Rule):
    """A threshold that must not be passed for longer than a duration."""

    above: float | None = None
    below: float | None = None
    clear: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("exactly one of above and below is wanted")
        if self.clear is not None and (self.clear - self.threshold) * self.sign > 0:
            raise ValueError("clear lies beyond the threshold")
        return self

    @property
    def sign(self) -> int:
        """+1 where high values are bad, -1 where low ones are."""
        return 1 if self.above is not None else -1

    @property
    def threshold(self) -> float:
        """Value that must not be passed."""
        value = self.above if self.above is not None else self.below
        assert value is not None  # noqa: S101  validated: one of them is given
        return value

    @property
    def clear_at(self) -> float:
        """Value at which a firing rule ends."""
        if self.clear is not None:
            return self.clear
        return self.threshold - self.sign * abs(self.threshold) * _HYSTERESIS


class RegressionRule(_Rule):
    """A signal must not be worse than it was some time ago by more than a share."""

    worse: Literal["up", "down"] = "up"
    worse_by: Annotated[float, Field(gt=0)]
    ago_ms: Duration = Field(alias="ago")
    window_ms: Duration = Field(alias="window")
    floor: Annotated[float, Field(ge=0)] = 0.0

    @property
    def sign(self) -> int:
        """+1 where a rise is worse, -1 where a fall is."""
        return 1 if self.worse == "up" else -1


class BurnAlert(BaseModel):
    """An error budget that is used up so many times faster than allowed, over a long and a short window."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    burn: Annotated[float, Field(ge=1)]
    long_ms: Duration = Field(alias="long")
    short_ms: Duration = Field(alias="short")
    severity: Severity

    @property
    def name(self) -> str:
        """The alert within its objective, for instance `14.4x`."""
        return f"{self.burn:g}x"


BURN_ALERTS: Final = (
    BurnAlert.model_validate({"burn": 14.4, "long": "1h", "short": "5m", "severity": "critical"}),
    BurnAlert.model_validate({"burn": 6, "long": "6h", "short": "30m", "severity": "warning"}),
    BurnAlert.model_validate({"burn": 1, "long": "3d", "short": "6h", "severity": "info"}),
)
"""The workbook's: 2 % of a month's budget in an hour, 5 % in six hours, 10 % in three days."""


class Objective(BaseModel):
    """A share of requests that must succeed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    signal: str = "http.availability"
    requests: str = "http.rps"
    objective: Annotated[float, Field(gt=0, lt=1)]
    services: Pattern = ".*"
    source: str = ""
    alerts: list[BurnAlert] = Field(default_factory=lambda: list(BURN_ALERTS), max_length=10)

    def concerns(self, service: str) -> bool:
        """Whether it is this service's."""
        return re.fullmatch(self.services, service) is not None


class Thresholds(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: dict[str, StaticRule]
    regression: dict[str, RegressionRule] = Field(default_factory=dict)
    objectives: dict[str, Objective] = Field(default_factory=dict)


def load_thresholds(config_dir: Path, definitions: Definitions) -> Thresholds:
    """`thresholds.yaml` of this folder. Raises SettingsError with file, line and key."""
    path = config_dir / "thresholds.yaml"
    thresholds = load_model(path, Thresholds)
    mistakes = list(_unknown_signals(thresholds, definitions))
    if mistakes:
        place_of = in_file(path, read_yaml(path)[1])
        lines = (f"{place_of(key)}: {'.'.join(key)}: {text}" for key, text in mistakes)
        raise SettingsError("\n".join(lines))
    return thresholds


def _unknown_signals(thresholds: Thresholds, definitions: Definitions) -> Iterator[tuple[tuple[str, ...], str]]:
    sections: dict[str, Mapping[str, _Rule]] = {"rules": thresholds.rules, "regression": thresholds.regression}
    for section, rules in sections.items():
        for rule_id, rule in rules.items():
            if rule.signal not in definitions.signals:
                hint = nearest(rule.signal, definitions.signals)
                yield (section, rule_id, "signal"), f"{rule.signal!r} is no signal of signals.yaml{hint}"
    for name, objective in thresholds.objectives.items():
        for key in ("signal", "requests"):
            signal = getattr(objective, key)
            if signal not in definitions.signals:
                hint = nearest(signal, definitions.signals)
                yield ("objectives", name, key), f"{signal!r} is no signal of signals.yaml{hint}"
