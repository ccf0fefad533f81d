"""The worker process."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import Field

from pipeline.settings.section import Seconds, Section


class Guarantee(enum.StrEnum):
    """What a crash may cost."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class RuntimeSettings(Section):
    """The worker process."""

    guarantee: Guarantee = Guarantee.EXACTLY_ONCE
    group: str = Field(default="duri", min_length=1, description="Prefix of the consumer groups' names")
    commit_interval_s: Annotated[float, Field(gt=0, le=60)] = 0.1
    snapshot_interval_s: Seconds = Field(default=60.0, description="Between two snapshots of a partition's state")
    max_poll_records: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    max_batch_bytes: Annotated[int, Field(ge=16_384, le=100_000_000)] = 1_000_000
    tick_after_s: Seconds = Field(default=5.0, description="An idle partition ticks this often (wall time)")
    shutdown_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65_535, description="Health and metrics; 0 picks a free port")] = 9464
    log_format: Literal["auto", "json", "console"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
