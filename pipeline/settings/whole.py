"""All sections together, from a file and the environment."""

from __future__ import annotations

import os
from pathlib import Path  # noqa: TC003  # pydantic reads the annotations
from typing import Any, Final

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.configfile import shipped_config
from pipeline.settings.advise import AdviseSettings
from pipeline.settings.detect import DetectSettings
from pipeline.settings.ingest import IngestSettings
from pipeline.settings.kafka import KafkaSettings
from pipeline.settings.models import ModelSettings
from pipeline.settings.runtime import RuntimeSettings
from pipeline.settings.topics import TopicSettings

ENVIRONMENT_PREFIX: Final = "DURI_"


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    ingest: IngestSettings = IngestSettings()
    detect: DetectSettings = DetectSettings()
    advise: AdviseSettings = AdviseSettings()
    models: ModelSettings = ModelSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    config_dir: Path = Field(
        default_factory=shipped_config,
        description="Folder of signals.yaml, thresholds.yaml, topology.yaml and catalogue/",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_variables(cls, data: Any) -> Any:
        """`DURI_BOOTSTRAP` is the short form of `DURI_KAFKA__BOOTSTRAP`."""
        bootstrap = os.environ.get(f"{ENVIRONMENT_PREFIX}BOOTSTRAP")
        if bootstrap and isinstance(data, dict):
            kafka = data.get("kafka") or {}
            if isinstance(kafka, dict):  # what is none is reported by the validation
                data = {**data, "kafka": {**kafka, "bootstrap": bootstrap}}
        return data

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment variables win over what the file says (which arrives as init arguments)."""
        return env_settings, init_settings
