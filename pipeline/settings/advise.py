"""From anomalies to recommendations."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.settings.section import Seconds, Section


class AdviseSettings(Section):
    """From anomalies to recommendations."""

    decide_after_frames: Annotated[int, Field(ge=1, le=60)] = 2
    source_timeout_s: Seconds = Field(
        default=600.0,
        description="A source that is silent while others move on so far (event time) is waited for no longer",
    )
    incident_gap_s: Seconds = Field(default=900.0, description="An incident closes after this long without anomalies")
    cooldown_s: Seconds = Field(default=3600.0, description="The same advice is not opened again sooner than this")
    expiry_s: Seconds = Field(default=86_400.0, description="A recommendation nobody answers expires after this")
    update_every_s: Seconds = Field(
        default=1800.0, description="A standing recommendation is updated this often at most"
    )
    change_window_s: Seconds = Field(
        default=1800.0, description="A change this long before an incident may be its cause"
    )
    mute_s: Seconds = Field(
        default=604_800.0, description="Signals whose recommendations are refused repeatedly are quietened for so long"
    )
    deploy_watch_s: Seconds = Field(
        default=900.0, description="A deploy that made nothing worse for so long closes as fine"
    )
    history_s: Annotated[float, Field(ge=60, le=86_400)] | None = Field(
        default=None,
        description="How far back references (what was usual) and trends of a service look: 720 frames at most. "
        "Where absent: an hour, or 720 frames where they are shorter",
    )
    calls_memory_s: Annotated[float, Field(ge=60, le=31_536_000)] = Field(
        default=604_800.0, description="A call that span metrics told of is forgotten when not seen for so long"
    )
    max_services: Annotated[int, Field(ge=1, description="Services whose recent history a partition keeps")] = 20_000
    max_pending_frames: Annotated[int, Field(ge=1, description="Frames held for slower sources")] = 100_000
    max_open_incidents: Annotated[int, Field(ge=1, description="Open incidents a partition keeps")] = 2_000
    max_open_recommendations: Annotated[int, Field(ge=1, description="Open advice a partition keeps")] = 5_000
    max_control_records: Annotated[int, Field(ge=1, description="Changes and maintenance windows remembered")] = 10_000
