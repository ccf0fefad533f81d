"""What is known of a trained model: enough to train it again, and to decide whether it may run."""

from __future__ import annotations

import enum
import hashlib
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ModelError

MANIFEST_VERSION: Final = 1

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Of a model: small letters, digits, dots and dashes, because it is a folder's name too."""
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]


class Kind(enum.StrEnum):
    """What a model is for, and what its estimator must be able to do."""

    DETECTOR = "detector"
    RANKER = "ranker"
    BAND = "band"
    PRIORS = "priors"


JUDGES: Final = (Kind.DETECTOR, Kind.BAND)
"""Kinds that judge services, frame by frame; one of them can be tried in the shadow."""


EVERY_SERVICE: Final = ".*"
"""Pattern of the names of services that a model judges, where it judges all."""


class Model(BaseModel):
    """Strict and frozen; a manifest is not written by hand."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(Model):
    """What a model was trained on, and how."""

    recipe: dict[str, Any]
    seed: int
    dataset: str = Field(description="Fingerprint of the dataset")
    start: int = Field(description="First event time used for anything, ms")
    end: int = Field(description="End of the event time used, ms")


class FeatureSchema(Model):
    """What the model expects at its input: names in order, and the version of the code that makes them."""

    version: int
    names: tuple[str, ...]


class Reference(Model):
    """What a model gave to n rows when it was trained: values by feature, n each, and one score or more of each row."""

    features: dict[str, tuple[float, ...]]
    scores: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _as_many(self) -> Reference:
        lengths = {len(column) for column in self.features.values()}
        if len(lengths) != 1 or 0 in lengths or len(self.scores) % min(lengths):
            raise ValueError("features and scores are of different numbers of rows")
        return self


class ModelManifest(Model):
    """One version of a model."""

    manifest_version: int = MANIFEST_VERSION
    name: Name
    kind: Annotated[str, Field(min_length=1, description="What it is for: detector, band, ranker, priors")]
    training: Training
    features: FeatureSchema
    services: str = Field(
        default=EVERY_SERVICE,
        # What judges all keeps the version that it had before there were others.
        exclude_if=lambda services: services == EVERY_SERVICE,
        description="Services that it was trained on and judges: a regular expression for whole names",
    )
    libraries: dict[str, str] = Field(description="Versions that it was trained with")
    metrics: dict[str, float] = Field(description="On the evaluation period")
    compared_with: Version | None = Field(
        default=None,
        exclude_if=lambda version: version is None,
        description="The live version beside which it was evaluated",
    )
    threshold: float | None = Field(default=None, description="Scores from here on are alarms")
    usual: tuple[tuple[float, ...], ...] = Field(
        default=(),
        # What was registered before keeps its version.
        exclude_if=lambda usual: not usual,
        description="Shares of each feature's values by bin in training, see models.offline.stability",
    )
    reference: Reference | None = Field(
        default=None,
        exclude_if=lambda reference: reference is None,
        description="Scores of a few rows, by which the model is known again, see pipeline.registry.reference",
    )
    sha256: str = Field(description="Of the model file")
    size: int = Field(ge=1, description="Bytes of the model file")

    @property
    def version(self) -> str:
        """12 hex digits of the hash of all this: the same training gives the same version."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def parse_manifest(place: str, text: bytes) -> ModelManifest:
    """The manifest from its text. Raises ModelError that names the place and the field."""
    try:
        found = ModelManifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the whole file"
        raise ModelError(f"{place}: cannot be read ({field}: {first['msg']}); register the model again") from error
    if found.manifest_version != MANIFEST_VERSION:
        raise ModelError(
            f"{place}: has manifest version {found.manifest_version}, this program reads {MANIFEST_VERSION}; "
            "use the version of the program that wrote it"
        )
    return found
