"""What people and programs put in: samples, changes, feedback, maintenance windows."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from pipeline.records.base import Record


class Sample(Record):
    """One value of one series, as a producer may publish it on `duri.metrics` in JSON."""

    kind_name: ClassVar[str] = "sample"
    # Producers add fields of their own; they are not ours to refuse.
    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Annotated[str, Field(min_length=1, description="Metric name, for instance http_requests_total")]
    labels: dict[str, str] = Field(default_factory=dict, description="Labels; `service` names the service")
    ts: int | float | AwareDatetime | str = Field(
        description="Time: s, ms, µs or ns since the epoch (told apart by magnitude), or ISO 8601"
    )
    value: float
    kind: Literal["gauge", "counter", "bucket"] | None = Field(
        default=None, description="How to read the value; by the name's suffix where absent"
    )
    unit: str | None = Field(default=None, description="UCUM unit; by the name's suffix where absent")


class ChangeEvent(Record):
    """Somebody changed something: a deploy, a configuration change, a scaling. Published on `duri.control`."""

    kind_name: ClassVar[str] = "change"

    id: str
    at: AwareDatetime
    service: str
    change: Literal["deploy", "config", "scale", "restart", "other"] = "deploy"
    version: str | None = None
    previous_version: str | None = None
    summary: str = ""
    by: str = ""


class Feedback(Record):
    """What a person says of a recommendation. Published on `duri.control`."""

    kind_name: ClassVar[str] = "feedback"

    id: str
    at: AwareDatetime
    recommendation: str = Field(description="Id of the recommendation")
    verdict: Literal["acknowledged", "applied", "rejected", "false_alarm", "snooze"]
    by: str = ""
    note: str = ""


class Muting(Record):
    """Until then deviations of these signals are not worth advice, unless they are critical.

    People publish it on `duri.control`; the advisor itself, on `duri.outcomes`, when recommendations about them were
    repeatedly called false alarms.
    """

    kind_name: ClassVar[str] = "muting"

    id: str
    at: AwareDatetime
    service: str = Field(default="", description="Empty: all")
    signals: list[str] = Field(min_length=1, description="Signals that are quietened")
    until: AwareDatetime
    reason: str = ""
    by: str = ""


class MaintenanceWindow(Record):
    """From `start` to `end` deviations of these services are expected. Published on `duri.control`."""

    kind_name: ClassVar[str] = "maintenance"

    id: str
    at: AwareDatetime
    start: AwareDatetime
    end: AwareDatetime
    services: list[str] = Field(default_factory=list, description="Empty: all")
    reason: str = ""
