"""Trained models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.settings.section import Section


class ModelSettings(Section):
    """Trained models."""

    registry: str = Field(
        default="models-registry",
        min_length=1,
        description="Where trained models lie: a folder, or a location that fsspec knows (s3://bucket/path, gs://…)",
    )
    mlflow: str | None = Field(
        default=None,
        description="Tracking URI of an MLflow that trained versions are logged to as well; needs the extra mlflow",
    )
    margin: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.05,
        description="F1 by which a version may be worse than the live one, at the lower end of the 95 % interval: "
        "19 of 20 equally good models differ by less on a week (benchmarks.margin)",
    )
    budget_ms: Annotated[float, Field(gt=0, le=60_000)] = Field(
        default=50.0, description="A model that takes longer to score 1,000 services once (ms) is not run"
    )
    max_bytes: Annotated[int, Field(ge=1_000, le=1 << 28)] = Field(
        default=8 << 20, description="A larger model is not run: every partition is handed its own copy"
    )
