from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.configfile import shipped_config
from pipeline.errors import SettingsError
from pipeline.settings import Settings, load_settings
from pipeline.stage import Topic

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
    settings = load_settings(overrides={"kafka.sasl_password": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    from_file = load_settings(overrides={"kafka.sasl_password_file": secret})
    assert from_file.kafka.password() == "s3cret"
    with pytest.raises(SettingsError, match="sasl_password_file"):
        load_settings(overrides={"kafka.sasl_password_file": tmp_path / "none"}).kafka.password()


def test_every_topic_has_a_name_and_partitions() -> None:
    """Each role has a topic with the prefix, and at least one partition."""
    topics = load_settings().topics
    assert {topics.name(topic) for topic in Topic} == {f"duri.{topic.value}" for topic in Topic}
    assert all(topics.partitions(topic) >= 1 for topic in Topic)
