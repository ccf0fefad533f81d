"""Names and sizes of the topics."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from pipeline.settings.section import Section
from pipeline.stage import Topic


class TopicSettings(Section):
    """Names and sizes of the topics."""

    prefix: str = Field(default="duri.", description="Put before each topic's role to make its name")
    metrics_format: str = Field(
        default="auto", description="What the metrics topic carries (a setting of docs/formats.md); auto: look at it"
    )
    extra_inputs: dict[str, str] = Field(
        default_factory=dict,
        description="Further input topics of ingest, each with its format (a setting of docs/formats.md, or auto)",
    )
    metrics_partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    samples_partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    frames_partitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    replication_factor: Annotated[int, Field(ge=-1, le=10, description="-1: the broker's default")] = -1
    retention_hours: Annotated[float, Field(gt=0)] = 72.0

    @field_validator("replication_factor")
    @classmethod
    def _some_replicas(cls, factor: int) -> int:
        if factor == 0:
            raise ValueError("1 or more is wanted, or -1 for the broker's default")
        return factor

    @model_validator(mode="after")
    def _no_loops(self) -> Self:
        own = {self.name(topic) for topic in Topic}
        for name in self.extra_inputs:
            if name in own:
                raise ValueError(
                    f"extra_inputs: {name} is one of the worker's own topics; name another one, or change the prefix"
                )
        return self

    def name(self, topic: Topic) -> str:
        """Name of the topic that plays this role."""
        return f"{self.prefix}{topic.value}"

    def partitions(self, topic: Topic) -> int:
        """Partitions that `topics create` gives it."""
        sizes = {
            Topic.METRICS: self.metrics_partitions,
            Topic.SAMPLES: self.samples_partitions,
            Topic.FRAMES: self.frames_partitions,
            Topic.STATE: max(self.samples_partitions, self.frames_partitions),
        }
        return sizes.get(topic, 1)
