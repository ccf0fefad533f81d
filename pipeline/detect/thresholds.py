"""`config/thresholds.yaml`: static rules and regression rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.configfile import load_model
from pipeline.errors import SettingsError
from pipeline.records import Severity

if TYPE_CHECKING:
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
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    signal: str
    severity: Severity
    hold_ms: Duration = Field(alias="for")
    source: str = ""
    services: str = ".*"

    @model_validator(mode="after")
    def _valid_pattern(self) -> Self:
        try:
            re.compile(self.services)
        except re.error as error:
            raise ValueError(f"services: {self.services!r} is no regular expression: {error}") from error
        return self

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


class Thresholds(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: dict[str, StaticRule]
    regression: dict[str, RegressionRule] = Field(default_factory=dict)


def load_thresholds(config_dir: Path, definitions: Definitions) -> Thresholds:
    """`thresholds.yaml` of this folder. Raises SettingsError with file, line and key."""
    path = config_dir / "thresholds.yaml"
    thresholds = load_model(path, Thresholds)
    every: dict[str, StaticRule | RegressionRule] = {**thresholds.rules, **thresholds.regression}
    for rule_id, rule in every.items():
        if rule.signal not in definitions.signals:
            known = ", ".join(definitions.signals)
            raise SettingsError(f"{path}: {rule_id}.signal: {rule.signal!r} is no signal of signals.yaml ({known})")
    return thresholds
