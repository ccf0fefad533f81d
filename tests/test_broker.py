from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.errors import EmbeddedBrokerError, LifecycleError
from pipeline.runtime import jars
from pipeline.runtime.broker import EmbeddedBroker
from pipeline.runtime.broker_java import free_port, new_cluster_id, stored_cluster_id
from pipeline.runtime.broker_probe import serving_cluster

VALUES = [b"one", b"two", b"three"]


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        return [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(count)]


async def _round_trip(bootstrap: str, topic: str) -> list[bytes]:
    await _create(bootstrap, topic)
    await _produce(bootstrap, topic, VALUES)
    return await _consume(bootstrap, topic, len(VALUES))


def _gone(pid: int, folder: Path, within: float = 8.0) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not folder.exists() and not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


def test_round_trip(kafka, topic_prefix):
    """What is produced is consumed, in order."""
    assert asyncio.run(_round_trip(kafka, f"{topic_prefix}in")) == VALUES


def test_group_gets_its_partitions(kafka, topic_prefix):
    """A consumer group works: its internal topic can be created on one node."""

    async def run() -> bytes:
        topic = f"{topic_prefix}in"
        await _create(kafka, topic)
        await _produce(kafka, topic, VALUES)
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=kafka, group_id=f"{topic_prefix}group", auto_offset_reset="earliest"
        )
        async with consumer:
            record = await asyncio.wait_for(consumer.getone(), 20)
            await consumer.commit()
            return record.value

    assert asyncio.run(run()) == VALUES[0]


def test_transactions(kafka, topic_prefix):
    """Under read_committed a committed transaction is seen and an aborted one is not."""

    async def run() -> list[bytes]:
        topic = f"{topic_prefix}out"
        await _create(kafka, topic)
        producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}writer")
        async with producer:
            for value, commits in ((b"first", True), (b"aborted", False), (b"second", True)):
                await producer.begin_transaction()
                await producer.send_and_wait(topic, value)
                await (producer.commit_transaction() if commits else producer.abort_transaction())
        return await _consume(kafka, topic, 2)

    assert asyncio.run(run()) == [b"first", b"second"]


def test_topics_are_not_made_by_accident(kafka, topic_prefix):
    """Asking for a topic that does not exist does not create it."""

    async def run() -> list[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            await admin.describe_topics([f"{topic_prefix}nowhere"])
            return await admin.list_topics()
        finally:
            await admin.close()

    assert f"{topic_prefix}nowhere" not in asyncio.run(run())


@pytest.mark.kafka
def test_data_dir_survives(tmp_path):
    """A second broker on the same folder has the first one's data and formats nothing."""
    with EmbeddedBroker(tmp_path / "data") as first:
        asyncio.run(_round_trip(first.bootstrap, "kept"))
        cluster = stored_cluster_id(first.folder)
    with EmbeddedBroker(tmp_path / "data") as second:
        assert asyncio.run(_consume(second.bootstrap, "kept", len(VALUES))) == VALUES
        assert stored_cluster_id(second.folder) == cluster
        with pytest.raises(EmbeddedBrokerError, match="another embedded broker uses"):
            EmbeddedBroker(tmp_path / "data").start()
        assert second.running


@pytest.mark.kafka
def test_killed_broker_starts_again():
    """After a crash `start` brings the same address and data back; closing removes the folder."""
    with EmbeddedBroker() as broker:
        address, pid = broker.bootstrap, broker.pid
        asyncio.run(_round_trip(address, "kept"))
        with pytest.raises(LifecycleError, match="runs already"):
            broker.start()
        broker.kill()
        assert not broker.running
        assert serving_cluster("127.0.0.1", int(address.split(":")[1])) is None
        broker.start()
        assert broker.bootstrap == address
        assert broker.pid != pid
        assert asyncio.run(_consume(address, "kept", len(VALUES))) == VALUES
        folder = broker.folder
    assert not folder.exists()
    with pytest.raises(LifecycleError, match="not started"):
        _ = broker.folder


@pytest.mark.kafka
def test_thread_that_started_it_may_end():
    """A broker started by a worker thread outlives the thread, and an exception in `with` still removes it."""
    broker = EmbeddedBroker()
    worker = threading.Thread(target=broker.start)
    worker.start()
    worker.join()
    with pytest.raises(ZeroDivisionError), broker:  # noqa: PT012  # what is asserted happens inside
        time.sleep(0.5)
        pid, folder = broker.pid, broker.folder
        assert pid is not None
        raise ZeroDivisionError
    assert _gone(pid, folder)


PARENT = """
import os, sys, time
from pipeline.runtime.broker import EmbeddedBroker
broker = EmbeddedBroker().start()
said = f"{broker.pid} {broker.folder}"
if sys.argv[1] == "forks" and os.fork() == 0:
    os.close(1)
    time.sleep(30)  # has inherited our end of the supervisor's pipe, and goes on
    os._exit(0)
print(said, flush=True)
if sys.argv[1] != "leaves":
    time.sleep(60)
"""


@pytest.mark.kafka
@pytest.mark.parametrize("parent", ["waits", "forks", "leaves"])
def test_nothing_outlives_the_parent(parent):
    """A parent that is killed by SIGKILL, or just forgets to close, leaves no Java process and no folder."""
    command = [sys.executable, "-c", PARENT, parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        if parent != "leaves":
            assert Path(folder, "broker.log").exists()
            assert Path(f"/proc/{pid}").exists()
            process.kill()
        process.wait()
        assert _gone(int(pid), Path(folder))
        if parent == "forks":
            os.killpg(process.pid, signal.SIGKILL)  # fails if the fork was not there all the time


@pytest.mark.kafka
def test_nothing_outlives_the_supervisor():
    """Java dies with its supervisor, and closing then still removes the folder."""
    with EmbeddedBroker() as broker:
        pid, folder = broker.pid, broker.folder
        assert pid is not None
        status = Path(f"/proc/{pid}/status").read_text()
        os.kill(int(re.findall(r"PPid:\s+(\d+)", status)[0]), signal.SIGKILL)
        until = time.monotonic() + 5
        while broker.running and time.monotonic() < until:
            time.sleep(0.05)
        assert not broker.running
    assert _gone(pid, folder)


def test_folder_that_cannot_be_used(tmp_path):
    """A data folder that is a file is named in the error."""
    (tmp_path / "data").write_text("mine", encoding="utf-8")
    with pytest.raises(EmbeddedBrokerError, match="data"):
        EmbeddedBroker(tmp_path / "data").start()


def test_port_taken():
    """A port that another program listens on is named in the error, and no folder is left."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(EmbeddedBrokerError, match=rf"127\.0\.0\.1:{port}.*[Aa]ddress already in use"):
            EmbeddedBroker(port=port).start()


@pytest.mark.kafka
def test_error_shows_the_log(tmp_path):
    """When Kafka refuses to start, the error carries the end of its log."""
    with pytest.raises(EmbeddedBrokerError, match=r"(?s)ended while starting.*num\.io\.threads"):
        EmbeddedBroker(tmp_path, settings={"num.io.threads": "many"}).start()


@pytest.mark.kafka
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command(number):
    """The command says its address first and ends with status 0 on SIGTERM and Ctrl-C."""
    program = "import typer; from pipeline.cli.broker import broker; typer.run(broker)"
    port = free_port()
    command = [sys.executable, "-c", program, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"bootstrap: 127.0.0.1:{port}\n"
        assert serving_cluster("127.0.0.1", port) is not None
        process.send_signal(number)
        assert process.wait(20) == 0
    assert serving_cluster("127.0.0.1", port) is None


def test_cluster_id_is_no_option():
    """A cluster id has 22 characters and never looks like a command-line option."""
    ids = [new_cluster_id() for _ in range(500)]
    assert all(len(text) == 22 and text[0] != "-" for text in ids)


def test_lock_file_is_whole():
    """Every jar has a SHA-256, all of Kafka has one version, and no address is written down."""
    locked = jars.read_lock()
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in locked)
    assert len({jar.version for jar in locked if jar.group == "org.apache.kafka"}) == 1
    assert len({jar.name for jar in locked}) == len(locked)
    assert "://" not in jars.LOCK_FILE.read_text(encoding="utf-8")


@pytest.fixture
def small_lock(tmp_path, monkeypatch):
    """A lock file of two small jars, an empty cache, no network, and a Maven repository that has the two."""
    content = {"alpha": b"jar of alpha", "beta": b"jar of beta"}
    lines = []
    for name, data in content.items():
        home = tmp_path / "m2" / "org" / "example" / name / "1.0"
        home.mkdir(parents=True)
        (home / f"{name}-1.0.jar").write_bytes(data)
        digest = jars.hashlib.sha256(data).hexdigest()
        lines += ["[[dependencies]]", 'groupId = "org.example"', f'artifactId = "{name}"', 'version = "1.0"']
        lines += [f'sha256 = "{digest}"']
    lock = tmp_path / "jars.lock.toml"
    lock.write_text("\n".join(lines), encoding="utf-8")
    mirror = tmp_path / "jgo.conf"
    mirror.write_text(f"[repositories]\ncentral = http://127.0.0.1:{free_port()}\n", encoding="utf-8")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(mirror))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("DURI_CACHE", str(tmp_path / "cache"))
    return lock


def test_local_maven_repository_is_used(small_lock, tmp_path):
    """Jars that Maven has already are taken from there; once cached they need neither Maven nor a network."""
    seen: list[tuple[str, int, int]] = []
    first = jars.ensure_jars(lambda *step: seen.append(step), lock_file=small_lock)
    assert [path.read_bytes() for path in first] == [b"jar of alpha", b"jar of beta"]
    assert [step[1:] for step in seen] == [(0, 2), (1, 2), (2, 2)]
    shutil.rmtree(tmp_path / "m2")
    assert jars.ensure_jars(seen.clear, lock_file=small_lock) == first
    assert len(seen) == 3
    assert not list(first[0].parent.glob("staging-*"))


def test_many_install_at_once(small_lock):
    """Callers at the same time all get the whole set, and one of them fetches it."""
    fetched: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        sets = [
            pool.submit(jars.ensure_jars, lambda name, *_: fetched.append(name), lock_file=small_lock) for _ in range(8)
        ]
        assert len({future.result() for future in sets}) == 1
    assert len(fetched) == 3


def test_tampered_jar(small_lock):
    """A jar that is not what was locked is reported by name, with what to do."""
    path = jars.ensure_jars(lock_file=small_lock)[1]
    path.write_bytes(b"jar of betA")
    with pytest.raises(EmbeddedBrokerError, match=r"beta-1\.0\.jar: the checksum differs.*delete it"):
        jars.ensure_jars(lock_file=small_lock)


def test_no_network(small_lock, tmp_path):
    """Without network or mirror the error names the jar, the mirror setting and the way round."""
    shutil.rmtree(tmp_path / "m2")
    with pytest.raises(EmbeddedBrokerError, match=r"org\.example:.*\[repositories\].*DURI_BOOTSTRAP"):
        jars.ensure_jars(lock_file=small_lock)


def test_wrong_maven_jar_is_not_used(small_lock, tmp_path):
    """A jar in Maven's repository that is not the locked one is not taken."""
    (tmp_path / "m2" / "org" / "example" / "beta" / "1.0" / "beta-1.0.jar").write_bytes(b"other")
    with pytest.raises(EmbeddedBrokerError, match=r"cannot fetch org\.example:beta:1\.0"):
        jars.ensure_jars(lock_file=small_lock)


@pytest.mark.parametrize("text", ["", "not toml", "[[dependencies]]\nartifactId = 'a'\n"])
def test_bad_lock_file(tmp_path, text):
    """A lock file that cannot be used is named."""
    lock = tmp_path / "bad.toml"
    lock.write_text(text, encoding="utf-8")
    with pytest.raises(EmbeddedBrokerError, match=r"bad\.toml"):
        jars.ensure_jars(lock_file=lock)


def test_probe_needs_kafka():
    """Something that is no Kafka is not taken for a broker that is ready."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        worker = threading.Thread(target=answer)
        worker.start()
        assert serving_cluster("127.0.0.1", port) is None
        worker.join()
