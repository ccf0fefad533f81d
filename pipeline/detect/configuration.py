"""What the detect stage is built from, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.multivariate.learner import MultivariateSettings
from models.online.bank import BankSettings
from pipeline.detect.anomalies.lifecycle import LifecycleSettings
from pipeline.detect.detectors.thresholds import load_thresholds
from pipeline.signals.definitions import load_definitions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pipeline.detect.detectors.thresholds import RegressionRule, StaticRule, Thresholds
    from pipeline.settings import DetectSettings
    from pipeline.signals.definitions import Definitions


@dataclass(frozen=True, slots=True)
class DetectConfiguration:
    """Settings, signals and thresholds that belong together; durations in ms."""

    settings: DetectSettings
    definitions: Definitions
    thresholds: Thresholds
    bank: BankSettings
    max_series: int
    multivariate: MultivariateSettings | None = None
    """None: signals are not judged together."""

    @property
    def frame_ms(self) -> int:
        """Frame interval."""
        return round(self.settings.frame_s * 1000)

    def plan(self) -> dict[str, object]:
        """What the detectors' state is laid out by, in plain values: under another plan it means something else."""
        return {
            "frame_ms": self.frame_ms,
            "signals": list(self.definitions.signals),
            "rules": _rule_plan(self.thresholds.rules),
            "regression rules": _rule_plan(self.thresholds.regression),
            "objectives": [
                f"{name}({each.signal} of {each.services}, {','.join(alert.name for alert in each.alerts)})"
                for name, each in self.thresholds.objectives.items()
            ],
        }

    @property
    def lifecycle(self) -> LifecycleSettings:
        """How anomalies live."""
        settings = self.settings
        return LifecycleSettings(
            close_after=round(settings.close_after_s * 1000),
            update_every=round(settings.update_every_s * 1000),
            max_open=settings.max_open_anomalies,
        )


def _rule_plan(rules: Mapping[str, StaticRule | RegressionRule]) -> list[str]:
    # The services belong to it: which of them a rule watches is decided once, when they appear.
    return [f"{rule_id}({rule.signal} of {rule.services})" for rule_id, rule in rules.items()]


def load_detection(config_dir: Path, settings: DetectSettings, *, partitions: int) -> DetectConfiguration:
    """Configuration of one of `partitions` detect stages. Raises SettingsError."""
    definitions = load_definitions(config_dir)
    return DetectConfiguration(
        settings=settings,
        definitions=definitions,
        thresholds=load_thresholds(config_dir, definitions),
        bank=BankSettings(timezone=settings.timezone),
        max_series=max(1, settings.max_series // partitions),
        multivariate=_multivariate(settings),
    )


def _multivariate(settings: DetectSettings) -> MultivariateSettings | None:
    wanted = settings.multivariate
    if not wanted.enabled:
        return None
    return MultivariateSettings(
        step_s=settings.frame_s,
        warmup_s=wanted.warmup_s,
        sensitivity=wanted.sensitivity,
        river=wanted.river,
        parameters=wanted.parameters,
    )
