"""Reading what producers send."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.settings.section import Seconds, Section


class IngestSettings(Section):
    """Reading what producers send."""

    service_labels: list[str] = Field(
        default=["service", "service.name", "service_name", "job", "app", "@key", "host"],
        description="Labels that may name the service, in order; @key is the producer's message key",
    )
    default_service: str = Field(default="unknown", min_length=1)
    max_future_s: Seconds = Field(
        default=3600.0, description="Samples further ahead of their Kafka record's timestamp are dead-lettered"
    )
    max_past_s: Seconds = Field(
        default=1_262_304_000.0,
        description="Samples further behind their Kafka record's timestamp are dead-lettered (default: 40 years: "
        "replayed history passes, and clocks that stand near 1970 do not)",
    )
    max_labels: Annotated[int, Field(ge=1, le=1000)] = 64
    max_label_bytes: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    max_series_per_message: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    max_refused_pieces: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1000,
        description="A message with more bad lines or points is dead-lettered as a whole, the good ones with it",
    )
    max_decompressed_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = Field(
        default=64 << 20, description="A compressed message that unfolds to more bytes is dead-lettered"
    )
    max_nesting: Annotated[int, Field(ge=1, le=64)] = Field(
        default=16, description="Levels of lists and objects that an attribute's value may have"
    )
