"""Incidents: anomalies that belong together."""

from __future__ import annotations

import enum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from pipeline.records.base import SCHEMA_VERSION, Record, Severity


class IncidentState(enum.StrEnum):
    """Life cycle of an incident."""

    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


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
    summary: str
    opened_at: AwareDatetime
    last_at: AwareDatetime
    closed_at: AwareDatetime | None = None
    anomalies: list[str]
    changes: list[str] = Field(default_factory=list, description="Ids of change events shortly before it")
    recommendations: list[str] = Field(default_factory=list)
