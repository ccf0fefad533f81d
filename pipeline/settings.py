"""The settings of a worker: `config/duri.yaml`, then environment variables `DURI_…`, then command-line options.

Each tunable is declared once, here, with its unit, bounds and meaning; help, schema and docs come from it.
Secrets may be given as the path of a file (`…_file`) and never appear in logs or error messages.
"""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipeline.configfile import describe, read_yaml, shipped_config
from pipeline.errors import SettingsError
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

ENVIRONMENT_PREFIX = "DURI_"

Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the settings; unknown keys are errors, because a misspelt key is a setting that does nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Guarantee(enum.StrEnum):
    """What a crash may cost."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


class KafkaSettings(Section):
    """How to reach the broker."""

    bootstrap: str = Field(default="127.0.0.1:9092", description="host:port[,host:port…] of the brokers")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = Field(default=None, description="File that holds the password")
    ssl_cafile: Path | None = Field(default=None, description="CA certificates (PEM); the system's where absent")
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_key_password: SecretStr | None = None

    def password(self) -> str | None:
        """The SASL password, from the setting or its file. Raises SettingsError."""
        if self.sasl_password is not None:
            return self.sasl_password.get_secret_value()
        if self.sasl_password_file is None:
            return None
        try:
            return self.sasl_password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(
                f"kafka.sasl_password_file: {self.sasl_password_file} cannot be read ({error.strerror})"
            ) from error


class TopicSettings(Section):
    """Names and sizes of the topics."""

    prefix: str = Field(default="duri.", description="Put before each topic's role to make its name")
    extra_inputs: dict[str, str] = Field(
        default_factory=dict,
        description="Further input topics of ingest, each with its format (json, columnar, arrow or auto)",
    )
    metrics_partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    samples_partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    frames_partitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    replication_factor: Annotated[int, Field(ge=-1, le=10, description="-1: the broker's default")] = -1
    retention_hours: Annotated[float, Field(gt=0)] = 72.0

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
    max_labels: Annotated[int, Field(ge=1, le=1000)] = 64
    max_label_bytes: Annotated[int, Field(ge=16, le=1_000_000)] = 4096


class DetectSettings(Section):
    """Learning and flagging."""

    frame_s: Annotated[float, Field(ge=1, le=3600, description="Frame interval, seconds")] = 60.0
    lateness_s: Annotated[float, Field(ge=0, description="A frame waits this long (event time) for late samples")] = 5.0
    max_series: Annotated[int, Field(ge=1, description="Series modelled in all, shared out over partitions")] = (
        1_000_000
    )
    series_idle_s: Seconds = Field(default=86_400.0, description="A series unseen for this long is forgotten")
    gap_s: Seconds = Field(default=300.0, description="A counter's rate is not taken across a longer gap")
    absent_after_s: Seconds = Field(default=300.0, description="Silence of a signal that is a finding")
    close_after_s: Seconds = Field(default=300.0, description="An anomaly closes after this long without any firing")
    update_every_s: Seconds = Field(default=1800.0, description="An open anomaly is reported again this often at most")
    max_open_anomalies: Annotated[int, Field(ge=1, description="Open anomalies a partition keeps")] = 10_000
    max_waiting_samples: Annotated[int, Field(ge=1000)] = Field(
        default=2_000_000,
        description="Samples of later frames that a partition keeps while slower inputs catch up; then frames close",
    )
    tick_hold_s: Seconds = Field(
        default=120.0, description="A silent partition's event time moves on only after this long"
    )
    timezone: str = Field(default="UTC", description="IANA time zone of the daily and weekly seasons")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("an IANA time zone like Europe/Berlin is wanted") from error
        return name


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
    history_s: Annotated[float, Field(ge=60, le=86_400)] = Field(
        default=3600.0, description="How far back references (what was usual) and trends of a service look"
    )
    max_services: Annotated[int, Field(ge=1, description="Services whose recent history a partition keeps")] = 20_000
    max_pending_frames: Annotated[int, Field(ge=1, description="Frames held for slower sources")] = 100_000
    max_open_incidents: Annotated[int, Field(ge=1, description="Open incidents a partition keeps")] = 2_000
    max_open_recommendations: Annotated[int, Field(ge=1, description="Open advice a partition keeps")] = 5_000
    max_control_records: Annotated[int, Field(ge=1, description="Changes and maintenance windows remembered")] = 10_000


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


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    ingest: IngestSettings = IngestSettings()
    detect: DetectSettings = DetectSettings()
    advise: AdviseSettings = AdviseSettings()
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
            kafka = dict(data.get("kafka") or {})
            kafka["bootstrap"] = bootstrap
            data = {**data, "kafka": kafka}
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


def load_settings(path: Path | None = None, *, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings from the file (the shipped `duri.yaml` where None), the environment, then `overrides`.

    `overrides` maps dotted keys to values, for command-line options: `{"kafka.bootstrap": "…"}`; None is skipped.
    Raises SettingsError that names file, line and key.
    """
    path = path or shipped_config() / "duri.yaml"
    data, tree = read_yaml(path)
    try:
        settings = Settings(**(data or {}))
        return _apply(settings, {k: v for k, v in (overrides or {}).items() if v is not None})
    except ValidationError as error:
        raise SettingsError(describe(error, path, tree, _variable)) from error


def _variable(location: Sequence[int | str]) -> str | None:
    """The environment variable that sets this key, if there is one."""
    name = ENVIRONMENT_PREFIX + "__".join(str(part) for part in location).upper()
    if tuple(location) == ("kafka", "bootstrap") and f"{ENVIRONMENT_PREFIX}BOOTSTRAP" in os.environ:
        name = f"{ENVIRONMENT_PREFIX}BOOTSTRAP"
    return f"environment variable {name}" if name in os.environ else None


def _apply(settings: Settings, overrides: dict[str, Any]) -> Settings:
    if not overrides:
        return settings
    sections: dict[str, Any] = {}
    for dotted, value in overrides.items():
        section, _, key = dotted.partition(".")
        if not key:
            sections[section] = value
            continue
        current = sections.get(section, getattr(settings, section))
        sections[section] = type(current).model_validate({**current.model_dump(), key: value})
    return settings.model_copy(update=sections)
