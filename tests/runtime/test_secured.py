"""A broker that asks for certificates, passwords and rights: Apache Kafka with TLS, SASL and access control lists."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import trustme
from aiokafka import AIOKafkaConsumer
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from pipeline.errors import EmbeddedBrokerError
from pipeline.runtime.broker import EmbeddedBroker
from pipeline.runtime.broker_java import HOST, SETTINGS_FILE, free_port, java_command, new_cluster_id, write_settings
from pipeline.runtime.clients import connection
from pipeline.runtime.jars import ensure_jars
from pipeline.settings import load_settings
from pipeline.stage import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PASSWORD: Final = "correct horse"  # noqa: S105  a test's
_PLAIN: Final = "org.apache.kafka.common.security.plain.PlainLoginModule required"
_SCRAM: Final = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Secured(NamedTuple):
    """A broker, the addresses of its listeners, and files to get in."""

    by_password: str
    by_certificate: str
    by_password_in_the_clear: str
    folder: Path

    def settings(self, name: str, prefix: str, **kafka: Any) -> Path:
        """A settings file for a client; `kafka` is added to what any needs."""
        path = self.folder / f"{prefix}{name}.yaml"
        content = {
            "kafka": {"ssl_cafile": str(self.folder / "authority.pem"), **kafka},
            "topics": {"prefix": prefix},
            "runtime": {"group": f"{prefix}group"},
        }
        path.write_text(json.dumps(content))
        return path

    def client(self, way: str, prefix: str, user: str = "duri") -> Path:
        """Settings of somebody with the right password or certificate."""
        if way == "certificate":
            files = {"ssl_certfile": str(self.folder / "client.pem"), "ssl_keyfile": str(self.folder / "client.key")}
            return self.settings(way, prefix, bootstrap=self.by_certificate, security_protocol="SSL", **files)
        (self.folder / "password").write_text(f"{PASSWORD}\n")
        return self.settings(
            f"{way}-{user}",
            prefix,
            bootstrap=self.by_password,
            security_protocol="SASL_SSL",
            sasl_mechanism=way,
            sasl_username=user,
            sasl_password_file=str(self.folder / "password"),
        )


def kafka_settings(folder: Path, ports: Sequence[int]) -> dict[str, str]:
    """What Kafka is told: a listener for ourselves that asks nothing, and those of `Secured`."""
    ours, passwords, certificates, clear, controller = ports
    listeners = (
        f"PLAINTEXT://{HOST}:{ours},PASSWORDS://{HOST}:{passwords},CERTIFICATES://{HOST}:{certificates},"
        f"CLEAR://{HOST}:{clear}"
    )
    users = f'{_PLAIN} user_duri="{PASSWORD}" user_guest="{PASSWORD}";'
    return {
        "listeners": f"{listeners},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": listeners,
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PASSWORDS:SASL_SSL,CERTIFICATES:SSL,CLEAR:SASL_PLAINTEXT"
        ),
        "listener.name.passwords.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.passwords.plain.sasl.jaas.config": users,
        "listener.name.passwords.scram-sha-512.sasl.jaas.config": _SCRAM,
        "listener.name.clear.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.clear.plain.sasl.jaas.config": users,
        "listener.name.certificates.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "authority.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:duri",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([a-z]*).*$/$1/",
    }


def write_certificates(folder: Path) -> None:
    """An authority, the server's and a client's certificate, and an authority that nobody knows."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "stranger.pem"))
    server, client = authority.issue_cert(HOST), authority.issue_cert("duri.example", common_name="duri")
    for name, cert in (("server", server), ("client", client)):
        chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
        key = load_pem_private_key(cert.private_key_pem.bytes(), None)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # the one form that Kafka reads
        (folder / f"{name}.key").write_bytes(text)
        (folder / f"{name}.pem").write_bytes(chain if name == "client" else text + chain)


def format_with_user(folder: Path, ports: Sequence[int]) -> None:
    """Make Kafka's data folder with a SCRAM user in it, which the embedded broker then finds formatted."""
    write_settings(folder, (ports[0], ports[-1]), kafka_settings(folder, ports))
    command = java_command(ensure_jars(None), heap_mb=64, options=["-XX:TieredStopAtLevel=1"])
    tool = ["kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", SETTINGS_FILE]
    user = ["--add-scram", f"SCRAM-SHA-512=[name=duri,password={PASSWORD}]"]
    made = subprocess.run([*command, *tool, *user], cwd=folder, capture_output=True, timeout=60, check=False)
    assert made.returncode == 0, (made.stdout + made.stderr).decode()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The broker, for all tests of this file."""
    folder = tmp_path_factory.mktemp("secured")
    write_certificates(folder)
    ports = [free_port() for _ in range(5)]
    try:
        format_with_user(folder, ports)
        broker = EmbeddedBroker(folder, port=ports[0], settings=kafka_settings(folder, ports)).start()
    except EmbeddedBrokerError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"NO KAFKA, SO NOTHING IS TRIED AGAINST A SECURED ONE: {error}")
    with broker:
        yield Secured(*(f"{HOST}:{port}" for port in ports[1:4]), folder)


def duri(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """A command, as a user gives it."""
    command = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def checks(config: Path) -> dict[str, dict[str, str]]:
    """What `duri doctor` finds."""
    return {one["check"]: one for one in json.loads(duri("doctor", "--json", "--config", config).stdout)["checks"]}


async def first_record(config: Path, topic: Topic, seconds: float = 60.0) -> bytes | None:
    """The first committed record's value."""
    settings = load_settings(config)
    consumer = AIOKafkaConsumer(
        settings.topics.name(topic),
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **connection(settings.kafka),
    )
    async with consumer:
        return (await asyncio.wait_for(consumer.getone(), seconds)).value


@pytest.mark.parametrize("way", ["SCRAM-SHA-512", "PLAIN", "certificate"])
def test_a_sample_flows_through_a_secured_broker(secured: Secured, topic_prefix: str, tmp_path: Path, way: str) -> None:
    """Topics are made, all checks pass, and what is published is read, in transactions."""
    config = secured.client(way, topic_prefix)
    assert duri("topics", "create", "--config", config).returncode == 0
    assert {name: one["verdict"] for name, one in checks(config).items() if one["verdict"] != "ok"} == {}
    sample = tmp_path / "sample.json"
    sample.write_text(
        json.dumps({"name": "up", "labels": {"service": "shop"}, "ts": int(time.time() * 1000), "value": 1})
    )
    assert duri("publish", sample, "--config", config).returncode == 0
    command = [sys.executable, "-m", "pipeline", "run", "ingest", "--http-port", "0", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        try:
            assert asyncio.run(first_record(config, Topic.SAMPLES))
        finally:
            worker.send_signal(signal.SIGTERM)
            _, said = worker.communicate(timeout=30)
    assert worker.returncode == 0, said
    assert PASSWORD not in said


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "duri", "sasl_password": "wrong"},
            "check kafka.sasl_mechanism, sasl_username and its password",
        ),
        ({"ssl_cafile": "stranger.pem"}, "its certificate is not trusted"),
    ],
    ids=["password", "authority"],
)
def test_what_is_refused_is_told_as_such(
    secured: Secured, topic_prefix: str, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], told: str
) -> None:
    """At once, and not as a broker that does not answer."""
    monkeypatch.chdir(secured.folder)
    protocol = "SASL_SSL" if "sasl_username" in wrong else "SSL"
    address = secured.by_password if protocol == "SASL_SSL" else secured.by_certificate
    config = secured.settings("wrong", topic_prefix, bootstrap=address, security_protocol=protocol, **wrong)
    found = checks(config)["broker"]
    assert found["verdict"] == "failed"
    assert told in found["detail"]


@pytest.mark.parametrize("listener", ["by_password", "by_certificate"])
def test_plain_text_to_a_listener_of_tls_is_told_as_such(secured: Secured, topic_prefix: str, listener: str) -> None:
    """A broker that speaks TLS is there: what to set is said, at once."""
    config = secured.settings("plain", topic_prefix, bootstrap=getattr(secured, listener))
    done = duri("topics", "describe", "--config", config)
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert "speaks TLS, and kafka.security_protocol is PLAINTEXT; set it to SSL (or SASL_SSL" in said
    assert "no Kafka broker answers" not in said


def test_no_login_where_one_is_wanted_is_told_as_such(secured: Secured, topic_prefix: str) -> None:
    """In the clear and by TLS: what the listener takes, and what to set."""
    for address, protocol in ((secured.by_password_in_the_clear, "PLAINTEXT"), (secured.by_password, "SSL")):
        config = secured.settings(f"no-login-{protocol}", topic_prefix, bootstrap=address, security_protocol=protocol)
        done = duri("topics", "describe", "--config", config)
        assert done.returncode == 1
        said = " ".join(done.stderr.split())
        assert f"{address} asks for a login (PLAIN" in said
        assert f"security_protocol is {protocol}; set it to SASL_{protocol}, and kafka.sasl_mechanism" in said


def test_a_wrong_password_in_the_clear_is_told_as_such(secured: Secured, topic_prefix: str) -> None:
    """As it is by TLS."""
    login = {"sasl_mechanism": "PLAIN", "sasl_username": "duri", "sasl_password": "wrong"}
    address = secured.by_password_in_the_clear
    config = secured.settings(
        "wrong-clear", topic_prefix, bootstrap=address, security_protocol="SASL_PLAINTEXT", **login
    )
    assert "check kafka.sasl_mechanism, sasl_username and its password" in checks(config)["broker"]["detail"]


def test_who_may_not_create_topics_is_told_what_to_grant(secured: Secured, topic_prefix: str) -> None:
    """The topic, the user, the operation and the command that grants it."""
    done = duri("topics", "create", "--config", secured.client("PLAIN", topic_prefix, user="guest"))
    assert done.returncode == 1
    said = " ".join(done.stderr.split())
    assert f"topic {topic_prefix}anomalies cannot be created: the user guest may not; grant Create on it" in said
    assert f"--add --allow-principal User:guest --operation Create --topic {topic_prefix}anomalies" in said


@pytest.mark.parametrize("words", [("publish", "{sample}"), ("deadletter", "list"), ("feedback", "r1", "applied")])
def test_a_topic_that_the_user_may_not_see_may_be_hidden(
    secured: Secured, topic_prefix: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Kafka answers as if it were not there: both ways out are said."""
    assert duri("topics", "create", "--config", secured.client("PLAIN", topic_prefix)).returncode == 0
    sample = tmp_path / "sample.json"
    sample.write_text("{}")
    guest = secured.client("PLAIN", topic_prefix, user="guest")
    done = duri(*(word.format(sample=sample) for word in words), "--config", guest)
    assert done.returncode == 1
    assert "if it is there, grant the user Describe on it" in " ".join(done.stderr.split())


def test_rights_that_are_missing_are_named(secured: Secured, topic_prefix: str) -> None:
    """A guest may log in and nothing else."""
    assert duri("topics", "create", "--config", secured.client("PLAIN", topic_prefix)).returncode == 0
    found = checks(secured.client("PLAIN", topic_prefix, user="guest"))
    failed = {name: one for name, one in found.items() if one["verdict"] == "failed"}
    assert found["broker"]["verdict"] == "ok"
    assert list(failed) == ["topics"]
    assert "grant the user Describe" in failed["topics"]["remedy"]
