from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition
from pydantic import ValidationError

from pipeline.advise.stage import history_slots
from pipeline.configfile import shipped_config
from pipeline.errors import SettingsError
from pipeline.runtime.stages import build_specs
from pipeline.settings import AdviseSettings, KafkaSettings, Settings, load_settings
from pipeline.stage import LogRecord, Topic
from tests.builders import START

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the machine that runs the tests do not count."""
    for name in list(os.environ):
        if name.startswith("DURI_"):
            monkeypatch.delenv(name)


def test_shipped_file_holds_the_defaults() -> None:
    """`config/duri.yaml` says what the program does without it."""
    assert load_settings() == Settings(config_dir=shipped_config())


WRONG = [
    ("kafka:\n  bootstrapp: x\n", ":2: kafka.bootstrapp: Extra inputs are not permitted"),
    ("detect:\n  lateness_s: 1\n  frame_s: 0\n", ":3: detect.frame_s: Input should be greater than or equal to 1"),
    ("detect:\n  timezone: Mars/Olympus\n", ":2: detect.timezone: Value error, an IANA time zone like Europe/Berlin"),
    ("runtime:\n  guarantee: maybe\n", ":2: runtime.guarantee: Input should be 'exactly_once' or 'at_least_once'"),
    ("topics: [1]\n", ":1: topics: Input should be a valid dictionary"),
    ("topics:\n  metrics_partitions: many\n", ":2: topics.metrics_partitions: Input should be a valid integer"),
    ("nonsense: 1\n", ":1: nonsense: Extra inputs are not permitted"),
    ("kafka: {\n", "not valid YAML"),
    ("- kafka\n", ":1: expected keys and values, found a list"),
    ("just text\n", ":1: expected keys and values, found a text"),
    ("12\n", ":1: expected keys and values, found a single value (int)"),
    ("detect: {}\n1: 2\n", ":2: 1: expected a text as the key"),
    ("detect:\n  1: 2\n", ":2: detect.1: "),
    (
        "detect:\n  frame_s: 1\n  gap_s: 2\n  frame_s: 3\n",
        ":4: not valid YAML: the key frame_s stands in line 2 already",
    ),
    ("detect: {gap_s: 1, gap_s: 2}\n", ":1: not valid YAML: the key gap_s stands in line 1 already"),
    ("detect:\n  gap_s: 2026-99-99\n", "not valid YAML: month must be in 1..12"),
    ("detect:\n  lateness_s: .inf\n", ":2: detect.lateness_s: Input should be a finite number"),
    ("topics:\n  replication_factor: 0\n", ":2: topics.replication_factor: Value error, 1 or more is wanted, or -1"),
    ("topics:\n  extra_inputs: {duri.samples: json}\n", "duri.samples is one of the worker's own topics"),
    ("kafka:\n  bootstrap: host:abc\n", ":2: kafka.bootstrap: Value error, host:port[,host:port…] with ports"),
    ("kafka:\n  bootstrap: host:70000\n", ":2: kafka.bootstrap: Value error, host:port[,host:port…] with ports"),
    (
        "kafka:\n  security_protocol: SASL_SSL\n",
        ":1: kafka: Value error, security_protocol SASL_SSL needs sasl_username",
    ),
    (
        "kafka: {security_protocol: SASL_SSL, sasl_username: me}\n",
        "SASL_SSL needs sasl_password_file (or sasl_password)",
    ),
    (
        "kafka: {sasl_password: hunter2}\n",
        "set security_protocol to SASL_SSL or SASL_PLAINTEXT, or remove sasl_password",
    ),
]


@pytest.mark.parametrize(("text", "place"), WRONG)
def test_mistakes_name_file_line_and_key(tmp_path: Path, text: str, place: str) -> None:
    """A wrong key or value is reported with its file, line and what was expected."""
    file = tmp_path / "duri.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert place in str(caught.value)
    assert str(file) in str(caught.value)
    assert caught.value.exit_status == 2


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A settings file that is not there is named."""
    with pytest.raises(SettingsError, match=r"none\.yaml"):
        load_settings(tmp_path / "none.yaml")


def test_variables_win_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment variable wins over the file, an option over both."""
    file = tmp_path / "duri.yaml"
    file.write_text("detect:\n  frame_s: 30\n  gap_s: 7\nkafka:\n  bootstrap: file:1\n")
    monkeypatch.setenv("DURI_DETECT__FRAME_S", "5")
    monkeypatch.setenv("DURI_BOOTSTRAP", "short:2")
    settings = load_settings(file)
    assert (settings.detect.frame_s, settings.detect.gap_s, settings.kafka.bootstrap) == (5.0, 7.0, "short:2")
    assert load_settings(file, overrides={"kafka.bootstrap": "option:3"}).kafka.bootstrap == "option:3"
    assert load_settings(file, overrides={"kafka.bootstrap": None}).kafka.bootstrap == "short:2"


def test_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a variable is wrong, the variable is named and not the file."""
    monkeypatch.setenv("DURI_DETECT__FRAME_S", "soon")
    with pytest.raises(SettingsError, match=r"environment variable DURI_DETECT__FRAME_S: detect\.frame_s"):
        load_settings()


def test_secrets_do_not_show(tmp_path: Path) -> None:
    """A password is in no representation of the settings; one in a file is read from there."""
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    login = {"kafka.security_protocol": "SASL_SSL", "kafka.sasl_username": "duri"}
    settings = load_settings(overrides={**login, "kafka.sasl_password": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    files = {"kafka.sasl_password_file": secret, "kafka.ssl_key_password_file": secret}
    from_file = load_settings(overrides={**login, **files})
    assert (from_file.kafka.password(), from_file.kafka.key_password()) == ("s3cret", "s3cret")
    missing = load_settings(overrides={**login, **dict.fromkeys(files, tmp_path / "none")}).kafka
    with pytest.raises(SettingsError, match=r"kafka\.sasl_password_file: .* cannot be read"):
        missing.password()
    with pytest.raises(SettingsError, match=r"kafka\.ssl_key_password_file: .* cannot be read"):
        missing.key_password()
    secret.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        from_file.kafka.password()


@pytest.mark.parametrize(
    "text",
    [
        "sasl_password: 12345678",
        "sasl_pasword: '12345678'",
        "sasl_password: '12345678'",
        "bootstrap: [12345678]",
        "sasl_password: *12345678",
        "sasl_password: !12345678",
    ],
)
def test_secrets_are_in_no_message(tmp_path: Path, text: str) -> None:
    """Neither a password of the wrong kind, nor one under a misspelt key, nor one in a wrong section is repeated."""
    file = tmp_path / "duri.yaml"
    file.write_text(f"kafka:\n  {text}\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    assert "12345678" not in str(caught.value)


def test_secrets_are_in_no_traceback() -> None:
    """Nor does the library's own error repeat one, which stands in a traceback as the cause."""
    wrong = {"sasl_password": "hunter2"}
    for model, data in ((KafkaSettings, wrong), (Settings, {"kafka": wrong})):
        with pytest.raises(ValidationError) as caught:
            model.model_validate(data)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("DURI_KAFKA__SASL_PASWORD", "hunter2"), ("DURI_KAFKA", '{"sasl_pasword": "hunter2"}'), ("DURI_KAFKA", "hunter2")],
)
def test_secrets_of_variables_are_in_no_message(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Nor is one of a variable that is wrong, which is named."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"environment variable {name}:") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DURI_KAFKA", "{", 'DURI_KAFKA: expected JSON like {"name": "value"}'),
        ("DURI_KAFKA", "[1]", "DURI_KAFKA: kafka: "),
        ("DURI_INGEST__SERVICE_LABELS", "a,b", 'DURI_INGEST__SERVICE_LABELS: expected JSON like ["first", "second"]'),
        ("DURI_INGEST__SERVICE_LABELS", "[1]", "DURI_INGEST__SERVICE_LABELS: ingest.service_labels.0: "),
        ("DURI_TOPICS__EXTRA_INPUTS", "a", 'DURI_TOPICS__EXTRA_INPUTS: expected JSON like {"name": "value"}'),
        (
            "DURI_DETEKT__FRAME_S",
            "1",
            "DURI_DETEKT__FRAME_S: no setting is called so; did you mean DURI_DETECT__FRAME_S?",
        ),
        (
            "DURI_DETECT_FRAME_S",
            "1",
            "DURI_DETECT_FRAME_S: no setting is called so; did you mean DURI_DETECT__FRAME_S?",
        ),
        ("DURI_XYZZY", "1", "DURI_XYZZY: no setting is called so; see `duri schema settings`"),
    ],
)
def test_wrong_variables_name_themselves(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    """A variable that is no JSON, or no setting, says so and what was expected."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert f"environment variable {message}" in str(caught.value)
    assert caught.value.exit_status == 2


def test_variables_that_are_no_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones that the code reads elsewhere, and those that Kubernetes makes of a service called duri."""
    for name in ("DURI_CACHE", "DURI_SERVICE_HOST", "DURI_WORKER_SERVICE_PORT_HTTP", "DURI_PORT_9464_TCP_ADDR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("DURI_PORT", "tcp://10.0.0.1:9464")
    monkeypatch.setenv("DURI_TOPICS__EXTRA_INPUTS__telegraf", "json")
    assert load_settings().topics.extra_inputs == {"telegraf": "json"}


def test_a_wrong_section_is_told_with_the_short_variable_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`DURI_BOOTSTRAP` does not hide that `kafka` is a list."""
    file = tmp_path / "duri.yaml"
    file.write_text("kafka: [1]\n")
    monkeypatch.setenv("DURI_BOOTSTRAP", "short:2")
    with pytest.raises(SettingsError, match=r"duri\.yaml:1: kafka: "):
        load_settings(file)


def test_a_wrong_option_is_told_as_one() -> None:
    """With its whole key, and not with a line of the file."""
    with pytest.raises(SettingsError, match=r"^command-line option: detect\.timezone: Value error, an IANA"):
        load_settings(overrides={"detect.timezone": "Mars/Olympus"})


@pytest.mark.parametrize("servers", ["kafka", "a:1,b:2", "[::1]:9092", "127.0.0.1:9092, other:9092"])
def test_addresses_of_brokers(servers: str) -> None:
    """Names and addresses, with and without a port."""
    assert load_settings(overrides={"kafka.bootstrap": servers}).kafka.bootstrap == servers


@pytest.mark.parametrize(
    ("key", "value"), [("topics.extra_inputs", {"telegraf": "jsn"}), ("topics.metrics_format", "jsn")]
)
def test_formats_of_topics_are_checked_at_the_start(key: str, value: object) -> None:
    """A format that ingest does not have is refused, with the nearest one."""
    settings = load_settings(overrides={key: value})
    with pytest.raises(SettingsError, match=rf"{re.escape(key)}.*: 'jsn' is no format; .* did you mean json\?"):
        build_specs(settings, ["ingest"])


def test_the_format_of_a_topic_reaches_its_stage() -> None:
    """The metrics topic and each further input is read as its setting says, where no header says otherwise."""
    formats = {"topics.metrics_format": "influx", "topics.extra_inputs": {"other": "prometheus"}}
    settings = load_settings(overrides=formats)
    [ingest] = build_specs(settings, ["ingest"])
    assert ingest.inputs == ("duri.metrics", "other", "duri.control")
    text = b"up 1"  # a sample in the one format, no line of the other
    reasons = {}
    for topic in ("duri.metrics", "other"):
        stage = ingest.factory(TopicPartition(topic, 0))
        named = [LogRecord(topic, 0, 1, START, None, text, [("content-type", b"text/plain; version=0.0.4")])]
        outputs = stage.step([LogRecord(topic, 0, 0, START, None, text)]) + stage.step(named)
        reasons[topic] = [dict(one.headers).get("duri.error.reason") for one in outputs]
    assert reasons == {"duri.metrics": [b"fields", None], "other": [None, None]}


def test_history_is_not_cut_silently() -> None:
    """A history that needs more frames than are kept is refused; the usual one is as long as it can be."""
    settings = load_settings(overrides={"advise.history_s": 86_400, "detect.frame_s": 60})
    with pytest.raises(
        SettingsError, match=r"advise\.history_s: 86400 s are 1440 frames .* to 43200 at most"
    ) as caught:
        build_specs(settings, ["advise"])
    assert caught.value.exit_status == 2
    assert [history_slots(AdviseSettings(), frame_s) for frame_s in (60.0, 5.0, 1.0)] == [60, 720, 720]
    assert history_slots(AdviseSettings(history_s=43_200), 60.0) == 720


def test_every_topic_has_a_name_and_partitions() -> None:
    """Each role has a topic with the prefix, and at least one partition."""
    topics = load_settings().topics
    assert {topics.name(topic) for topic in Topic} == {f"duri.{topic.value}" for topic in Topic}
    assert all(topics.partitions(topic) >= 1 for topic in Topic)
