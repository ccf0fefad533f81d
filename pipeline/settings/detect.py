"""Learning and flagging."""

from __future__ import annotations

from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from pipeline.settings.section import Seconds, Section


class MultivariateSection(Section):
    """Judging all signals of a service together."""

    enabled: bool = True
    sensitivity: Annotated[float, Field(ge=0.25, le=4)] = Field(
        default=1.0, description="Alarms are raised at 1 / sensitivity of the usual bar"
    )
    warmup_s: Annotated[float, Field(ge=0, le=604_800)] = Field(
        default=28_800.0, description="A service is not judged before it was seen for so long"
    )
    river: str | None = Field(
        default=None,
        description="An anomaly detector of River, such as anomaly.HalfSpaceTrees. Where absent: the distance from "
        "what the signals usually do together, which finds more and costs less",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters of that detector")

    @model_validator(mode="after")
    def _runnable(self) -> Self:
        if self.river is not None or self.parameters:
            # River takes seconds to import; only who names one of its models waits for it.
            from models.multivariate.learner import MultivariateSettings  # noqa: PLC0415

            MultivariateSettings(river=self.river, parameters=self.parameters)
        return self


class DetectSettings(Section):
    """Learning and flagging."""

    frame_s: Annotated[float, Field(ge=1, le=3600, description="Frame interval, seconds")] = 60.0
    lateness_s: Annotated[float, Field(ge=0, description="A frame waits this long (event time) for late samples")] = 5.0
    max_series: Annotated[int, Field(ge=1, description="Series modelled in all, shared out over partitions")] = (
        1_000_000
    )
    series_idle_s: Seconds = Field(default=86_400.0, description="A series unseen for this long is forgotten")
    gap_s: Seconds = Field(default=300.0, description="A counter's rate is not taken across a longer gap")
    absent_after_s: Seconds = Field(default=300.0, description="Silence of a signal that is a finding")
    close_after_s: Seconds = Field(default=300.0, description="An anomaly closes after this long without any firing")
    update_every_s: Seconds = Field(default=1800.0, description="An open anomaly is reported again this often at most")
    max_open_anomalies: Annotated[int, Field(ge=1, description="Open anomalies a partition keeps")] = 10_000
    max_waiting_samples: Annotated[int, Field(ge=1000)] = Field(
        default=2_000_000,
        description="Samples of later frames that a partition keeps while slower inputs catch up; then frames close",
    )
    tick_hold_s: Seconds = Field(
        default=120.0, description="A silent partition's event time moves on only after this long"
    )
    multivariate: MultivariateSection = MultivariateSection()
    timezone: str = Field(default="UTC", description="IANA time zone of the daily and weekly seasons")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("an IANA time zone like Europe/Berlin is wanted") from error
        return name
