"""Incidents: anomalies that belong together."""

from __future__ import annotations

import enum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from pipeline.records.base import SCHEMA_VERSION, Record, Severity, Share


class IncidentState(enum.StrEnum):
    """Life cycle of an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


class Suspect(Record):
    """A service that may cause an incident."""

    kind_name: ClassVar[str] = "suspect"

    service: str
    share: Share = Field(description="Its share of the harm that the services it calls do not explain")


class RunsOut(Record):
    """When something is used up, if it goes on like this."""

    kind_name: ClassVar[str] = "runs_out"

    what: str = Field(description="Signal that reaches its limit, or error_budget")
    expected_at: AwareDatetime
    earliest_at: AwareDatetime
    latest_at: AwareDatetime


class Incident(Record):
    """Anomalies that belong together in time and along the service graph."""

    kind_name: ClassVar[str] = "incident"

    id: str
    schema_version: str = SCHEMA_VERSION
    state: IncidentState
    severity: Severity
    system: str
    services: list[str]
    cause: str = Field(description="Service that most likely causes it")
    certainty: Share = Field(default=1.0, description="How sure that cause is; capped where calls are missing")
    suspects: list[Suspect] = Field(
        default_factory=list, max_length=10, description="Services by unexplained harm, the most first"
    )
    summary: str
    opened_at: AwareDatetime
    last_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    anomalies: list[str]
    worth_knowing: list[str] = Field(
        default_factory=list,
        description="Ids of anomalies of its services that are only worth knowing: they do not keep it open",
    )
    changes: list[str] = Field(default_factory=list, description="Ids of change events shortly before it")
    recommendations: list[str] = Field(default_factory=list)
    runs_out: list[RunsOut] = Field(
        default_factory=list, description="What of the cause's is used up when: memory, disk, connections, error budget"
    )
    known_reasons: list[str] = Field(
        default_factory=list, description="Why services of it are not advised on: maintenance, dependencies down"
    )
