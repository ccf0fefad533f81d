"""What the lab tells the pipeline on `duri.control`: a deploy, a maintenance window, that advice was applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.records import ChangeEvent, Feedback, MaintenanceWindow, cloudevent_headers, content_id, from_ms

if TYPE_CHECKING:
    from lab.faults import Fault

    Announcement = ChangeEvent | Feedback | MaintenanceWindow


def deployed(service: str, at: int) -> Announcement:
    """A deploy at that moment (ms)."""
    return ChangeEvent(
        id=content_id("lab", "deploy", at), at=from_ms(at), service=service, version="2", previous_version="1", by="lab"
    )


def maintenance(start: int, end: int) -> Announcement:
    """A maintenance window of all services (ms)."""
    return MaintenanceWindow(
        id=content_id("lab", "window", start),
        at=from_ms(start),
        start=from_ms(start),
        end=from_ms(end),
        reason="a load test",
    )


def applied(recommendation: str, at: int) -> Announcement:
    """That a recommendation was applied at that moment (ms)."""
    identity = content_id("lab", recommendation)
    return Feedback(id=identity, at=from_ms(at), recommendation=recommendation, verdict="applied", by="lab")


def announced(fault: Fault, start: int, end: int) -> list[Announcement]:
    """What people or tools announce as a fault is injected; `end` is a maintenance window's (ms)."""
    found = [maintenance(start, end)] if fault.maintenance else []
    return [*found, deployed(fault.service, start)] if fault.deploy else found


def headers_of(record: Announcement, at: int) -> list[tuple[str, bytes]]:
    """The CloudEvents headers with which it is published."""
    return list(cloudevent_headers(record.event_type(), "/duri/lab", record.id, at))
