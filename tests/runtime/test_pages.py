"""Metrics, pages and logs."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import structlog
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    KafkaError,
    ProducerFenced,
    SaslAuthenticationFailed,
)
from pydantic import SecretStr

from pipeline.errors import SettingsError
from pipeline.runtime.clients import connection
from pipeline.runtime.http import json_answer, serving
from pipeline.runtime.logs import NoiseFilter, configure_logging
from pipeline.runtime.telemetry import Telemetry, parse_name
from pipeline.settings import KafkaSettings, RuntimeSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass
class Partition:
    """A partition as metrics see it."""

    stage_name: str = "detect"
    place: tuple[str, int] = ("samples", 0)
    lag: int | None = 3
    statistics: Mapping[str, float] = field(default_factory=dict)


def test_statistics_are_summed_over_partitions_by_stage() -> None:
    """Counters and levels keep their labels and get the stage's name."""
    partitions = [
        Partition(statistics={"series": 4, 'anomalies_total{severity="critical"}': 1}),
        Partition(place=("samples", 1), lag=None, statistics={"series": 5, 'anomalies_total{severity="critical"}': 2}),
        Partition("advise", ("frames", 0), 0, {"series": 1}),
    ]
    lines = Telemetry(partitions).exposition().decode().splitlines()
    assert 'duri_series{stage="detect"} 9.0' in lines
    assert 'duri_series{stage="advise"} 1.0' in lines
    assert 'duri_anomalies_total{severity="critical",stage="detect"} 3.0' in lines
    assert "# TYPE duri_anomalies_total counter" in lines
    assert "# TYPE duri_series gauge" in lines
    assert 'duri_lag_records{partition="0",stage="detect",topic="samples"} 3.0' in lines
    assert not any('partition="1"' in line for line in lines)
    assert 'duri_partitions{stage="detect"} 2.0' in lines


@pytest.mark.parametrize(
    ("written", "name", "labels"),
    [
        ("series", "series", ()),
        ('a_total{b="c"}', "a_total", (("b", "c"),)),
        ('a{b="c",d="e,f}"}', "a", (("b", "c"), ("d", "e,f}"))),
        ('a{b="say \\"hi\\"\\n\\\\"}', "a", (("b", 'say "hi"\n\\'),)),
    ],
)
def test_names_carry_labels_as_in_prometheus(written: str, name: str, labels: tuple[tuple[str, str], ...]) -> None:
    """Escapes as in Prometheus' text format."""
    assert parse_name(written) == (name, labels)


@pytest.mark.parametrize("written", ["", "1a", "a b", 'a{b="c"', "ä"])
def test_other_names_are_refused(written: str) -> None:
    """A name that Prometheus would not read is an error here, not there."""
    with pytest.raises(ValueError, match="no metric name"):
        parse_name(written)


async def exchange(request: bytes) -> bytes:
    routes = {"/healthz": lambda: json_answer(200, {"status": "ok"})}
    async with serving("127.0.0.1", 0, routes) as address:
        host, _, port = address.removeprefix("http://").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        answer = await reader.read()
        writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /healthz HTTP/1.1", b"200 OK"),
        (b"GET /healthz?verbose=1 HTTP/1.1", b"200 OK"),
        (b"POST /healthz HTTP/1.1", b"405 Method Not Allowed"),
        (b"GET /secret HTTP/1.1", b"404 Not Found"),
        (b"GET /healthz", b"400 Bad Request"),
        (b"\xff\xfe\x00", b"400 Bad Request"),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1", b"400 Bad Request"),
    ],
)
def test_every_request_gets_an_answer(request_line: bytes, status: bytes) -> None:
    """Known pages, and a clear no to everything else."""
    answer = asyncio.run(exchange(request_line + b"\r\nHost: x\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 " + status)


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    """Logging may be configured; everything is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.usefixtures("_logging_restored")
def test_secrets_are_in_no_log(capsys: pytest.CaptureFixture[str], log_format: str, tmp_path: Path) -> None:
    """Neither a setting, nor a client's arguments, nor a traceback shows a password."""
    secret = "correct-horse"  # noqa: S105  a test's
    file = tmp_path / "password"
    file.write_text(f"{secret}\n")
    kafka = KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_username="duri",
        sasl_password=SecretStr(secret),
        sasl_password_file=file,
    )
    configure_logging(RuntimeSettings(log_format=log_format, log_level="debug"))
    log = structlog.get_logger("test")
    arguments = connection(kafka)
    assert arguments["sasl_plain_password"] == secret
    log.info("connecting", kafka=kafka, sasl_plain_password=arguments["sasl_plain_password"])
    logging.getLogger("aiokafka.conn").error("cannot connect as %s", kafka)
    try:
        local_copy_of_the_password = secret
        raise RuntimeError(f"after {len(local_copy_of_the_password)} letters")  # noqa: TRY301  the frame must hold it
    except RuntimeError:
        log.exception("failed")
    text = capsys.readouterr().err
    assert "connecting" in text
    assert "cannot connect" in text
    assert "RuntimeError: after 13 letters" in text
    assert secret not in text


@pytest.mark.usefixtures("_logging_restored")
def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours and the libraries' alike."""
    configure_logging(RuntimeSettings(log_format="json"))
    structlog.get_logger("ours").info("hello", partition=3)
    logging.getLogger("theirs").warning("hello %s", "too")
    logging.getLogger("theirs").debug("below the level")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["partition"], first["logger"]) == ("hello", "info", 3, "ours")
    assert (second["event"], second["level"], second["logger"]) == ("hello too", "warning", "theirs")


def test_a_library_that_repeats_itself_is_heard_once() -> None:
    """A lost broker makes aiokafka say the same for ever; we ourselves may repeat."""
    noise = NoiseFilter()
    theirs = logging.LogRecord("aiokafka.conn", logging.ERROR, "", 0, "cannot connect to %s", ("a",), None)
    ours = logging.LogRecord("pipeline.runtime", logging.ERROR, "", 0, "cannot connect", (), None)
    assert [noise.filter(theirs), noise.filter(theirs)] == [True, False]
    assert [noise.filter(ours), noise.filter(ours)] == [True, True]


@pytest.mark.parametrize(
    ("why", "told"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), False),
        (ssl.SSLError(1, "wrong version"), True),
        (SaslAuthenticationFailed("no"), True),
    ],
)
def test_what_is_told_by_us_is_not_told_by_the_client(why: Exception, told: bool) -> None:
    """That nobody answers ends in our own error; why TLS or the password failed is known to the client alone."""
    text = 'Unable connect to "%s:%s": %s'
    assert NoiseFilter().filter(logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, ("a", 1, why), None)) is told


def test_that_a_new_broker_has_no_coordinators_yet_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes their topics at the first question; one that has none for longer is told, and so is another error."""
    text, clock, noise = "Group Coordinator Request failed: %s", [100.0], NoiseFilter()
    monkeypatch.setattr("pipeline.runtime.logs.time.monotonic", lambda: clock[0])

    def is_told(why: KafkaError, after_s: float) -> bool:
        clock[0] += after_s
        return noise.filter(logging.LogRecord("aiokafka.consumer", logging.ERROR, "", 0, text, (why,), None))

    assert not any(is_told(GroupCoordinatorNotAvailableError(), 1.0) for _ in range(15))
    assert is_told(GroupCoordinatorNotAvailableError(), 1.0)
    assert not is_told(GroupCoordinatorNotAvailableError(), 60.0)  # another broker's start
    assert is_told(GroupAuthorizationFailedError(), 20.0)


def test_a_dead_producers_futures_are_not_news() -> None:
    """What asyncio finds in them was raised to us before; another library's error is told."""
    noise = NoiseFilter()
    for error, told in ((ProducerFenced(), False), (ValueError(), True)):
        info = (type(error), error, None)
        record = logging.LogRecord("asyncio", logging.ERROR, "", 0, "Future exception was never retrieved", (), info)
        assert noise.filter(record) is told


def test_unreadable_certificates_are_wrong_settings(tmp_path: Path) -> None:
    """The message names the settings."""
    kafka = KafkaSettings(security_protocol="SSL", ssl_cafile=tmp_path / "none.pem")
    with pytest.raises(SettingsError, match="ssl_cafile"):
        connection(kafka)
