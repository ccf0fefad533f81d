"""Anomaly records as outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.records import cloudevent_headers, content_id, to_ms
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from pipeline.records import Anomaly


def anomaly_output(anomaly: Anomaly, at: int) -> Output:
    """The record of a state change at `at` (ms) for `duri.anomalies`, keyed by service."""
    identity = content_id(anomaly.id, anomaly.state, at)
    moment = at if anomaly.closed_at is None else to_ms(anomaly.closed_at)
    return Output(
        topic=Topic.ANOMALIES,
        value=anomaly.model_dump_json().encode(),
        timestamp=moment,
        key=anomaly.service.encode(),
        headers=cloudevent_headers(anomaly.event_type(), f"/detect/{anomaly.service}", identity, moment),
    )
