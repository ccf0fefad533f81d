"""The settings of a worker: `config/duri.yaml`, then environment variables `DURI_…`, then command-line options.

Each tunable is declared once, here, with its unit, bounds and meaning; help, schema and docs come from it.
Secrets may be given as the path of a file (`…_file`) and never appear in logs or error messages.
"""

from __future__ import annotations

import enum
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as VariableError

from pipeline.configfile import describe, in_file, nearest, read_mapping, shipped_config
from pipeline.errors import SettingsError
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENVIRONMENT_PREFIX = "DURI_"
_OTHER_VARIABLES: Final = ("DURI_BOOTSTRAP", "DURI_CACHE", "DURI_NAB")
"""Variables that are no settings: the short form of an address, the folder of downloads, the tests' data."""
# Kubernetes gives every container the addresses of the services around it; one may be called duri-something.
_KUBERNETES: Final = re.compile(r"DURI_(.+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_KUBERNETES_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")
_SERVER: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:,/\[\]]+)(?::(\d{1,5}))?")
_FORMS: Final = {list: '["first", "second"]', dict: '{"name": "value"}'}

Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A part of the settings; unknown keys are errors, because a misspelt key is a setting that does nothing."""

    # A validation error of pydantic would repeat the section, secrets included, in tracebacks.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


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
    ssl_key_password_file: Path | None = Field(default=None, description="File that holds the key's password")

    @field_validator("bootstrap")
    @classmethod
    def _servers(cls, bootstrap: str) -> str:
        for server in bootstrap.split(","):
            match = _SERVER.fullmatch(server.strip())
            if match is None or not 0 < int(match[1] or 9092) <= 65_535:
                raise ValueError("host:port[,host:port…] with ports from 1 to 65535 is wanted, like kafka:9092")
        return bootstrap

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        has_password = self.sasl_password is not None or self.sasl_password_file is not None
        if not self.security_protocol.startswith("SASL"):
            if has_password:
                raise ValueError(
                    f"a SASL password is of no use with security_protocol {self.security_protocol}; "
                    "set security_protocol to SASL_SSL or SASL_PLAINTEXT, or remove sasl_password and its file"
                )
        elif not self.sasl_username:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username")
        elif not has_password:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_password_file (or sasl_password)")
        return self

    def password(self) -> str | None:
        """The SASL password, from the setting or its file. Raises SettingsError."""
        return _secret(self.sasl_password, self.sasl_password_file, "kafka.sasl_password_file")

    def key_password(self) -> str | None:
        """The password of the client's key, from the setting or its file. Raises SettingsError."""
        return _secret(self.ssl_key_password, self.ssl_key_password_file, "kafka.ssl_key_password_file")


def _secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{key}: {file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{key}: {file} is not UTF-8 text (byte {error.start})") from error


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


class MultivariateSection(Section):
    """Judging all signals of a service together."""

    enabled: bool = True
    sensitivity: Annotated[float, Field(ge=0.25, le=4)] = Field(
        default=1.0, description="Alarms are raised at 1 / sensitivity of the usual bar"
    )
    warmup_s: Annotated[float, Field(ge=0, le=604_800)] = Field(
        default=28_800.0, description="A service is not judged before it was seen for so long"
    )
    river: str | None = Field(
        default=None,
        description="An anomaly detector of River, such as anomaly.HalfSpaceTrees. Where absent: the distance from "
        "what the signals usually do together, which finds more and costs less",
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters of that detector")

    @model_validator(mode="after")
    def _runnable(self) -> Self:
        if self.river is not None or self.parameters:
            # River takes seconds to import; only who names one of its models waits for it.
            from models.multivariate.learner import MultivariateSettings  # noqa: PLC0415

            MultivariateSettings(river=self.river, parameters=self.parameters)
        return self


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
    multivariate: MultivariateSection = MultivariateSection()
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
        default=0.075,
        description="F1 by which a version may be worse than the live one, at the lower end of the 95 % interval: "
        "19 of 20 equally good models differ by less on a week",
    )
    budget_ms: Annotated[float, Field(gt=0, le=60_000)] = Field(
        default=50.0, description="A model that takes longer to score 1,000 services once (ms) is not run"
    )
    max_bytes: Annotated[int, Field(ge=1_000, le=1 << 28)] = Field(
        default=8 << 20, description="A larger model is not run: every partition is handed its own copy"
    )


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


def load_settings(path: Path | None = None, *, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings from the file (the shipped `duri.yaml` where None), the environment, then `overrides`.

    `overrides` maps dotted keys to values, for command-line options: `{"kafka.bootstrap": "…"}`; None is skipped.
    Raises SettingsError that names file, line and key.
    """
    path = path or shipped_config() / "duri.yaml"
    data, tree = read_mapping(path)
    _refuse_unknown_variables()
    try:
        settings = Settings(**data)
    except VariableError as error:
        raise SettingsError("\n".join(_no_json()) or str(error)) from error
    except ValidationError as error:
        place_of = in_file(path, tree)
        raise SettingsError(describe(error, lambda key: _variable(key) or place_of(key))) from error
    return _apply(settings, {key: value for key, value in (overrides or {}).items() if value is not None})


def _variables() -> Iterator[tuple[str, Any]]:
    """Every variable that is a setting, with its type."""
    yield from _variables_of(Settings, ENVIRONMENT_PREFIX)


def _variables_of(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        variable = f"{prefix}{name}".upper()
        kind: Any = field.annotation
        yield variable, kind
        if _is_section(kind):
            yield from _variables_of(kind, f"{variable}__")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _refuse_unknown_variables() -> None:
    """A misspelt variable is a setting that does nothing. Raises SettingsError."""
    known = dict(_variables())
    tables = tuple(f"{name}__" for name, kind in known.items() if get_origin(kind) is dict)
    mistakes = []
    for variable, value in sorted(os.environ.items()):
        name = variable.upper()
        if not name.startswith(ENVIRONMENT_PREFIX) or name in known or name in _OTHER_VARIABLES:
            continue
        if name.startswith(tables) or _KUBERNETES.fullmatch(name) or _KUBERNETES_ADDRESS.match(value):
            continue
        hint = nearest(name, [*known, *_OTHER_VARIABLES])
        mistakes.append(
            f"environment variable {variable}: no setting is called so{hint or '; see `duri schema settings`'}"
        )
    if mistakes:
        raise SettingsError("\n".join(mistakes))


def _no_json() -> Iterator[str]:
    """One line a variable that has to be JSON and is not."""
    for name, kind in _variables():
        form = _FORMS.get(dict if _is_section(kind) else get_origin(kind))
        value = next((value for variable, value in os.environ.items() if variable.upper() == name), None)
        if form is not None and value is not None and not _is_json(value):
            yield f"environment variable {name}: expected JSON like {form}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _variable(location: Sequence[int | str]) -> str | None:
    """The environment variable that sets this key, or what it is a part of, if there is one."""
    if tuple(location) == ("kafka", "bootstrap") and f"{ENVIRONMENT_PREFIX}BOOTSTRAP" in os.environ:
        return f"environment variable {ENVIRONMENT_PREFIX}BOOTSTRAP"
    for size in range(len(location), 0, -1):
        name = ENVIRONMENT_PREFIX + "__".join(str(part) for part in location[:size]).upper()
        # A section's variable sets only the keys that stand in it.
        if name in os.environ and (size != 1 or all(f'"{key}"' in os.environ[name] for key in location[1:2])):
            return f"environment variable {name}"
    return None


def _apply(settings: Settings, overrides: dict[str, Any]) -> Settings:
    """The settings with these values, each section checked with all of its own. Raises SettingsError."""
    whole: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for dotted, value in overrides.items():
        section, _, key = dotted.partition(".")
        if key:
            sections.setdefault(section, {})[key] = value
        else:
            whole[section] = value
    for section, values in sections.items():
        current = getattr(settings, section)
        try:
            whole[section] = type(current).model_validate({**current.model_dump(), **values})
        except ValidationError as error:
            raise SettingsError(describe(error, lambda _: "command-line option", (section,))) from error
    return settings.model_copy(update=whole)
