"""`duri publish`: files as messages, and what ingest would make of them."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.errors import FileError
from pipeline.sources.raw_messages import by_lines, whole
from tests.installation import duri

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

INFLUX = b"mem,host=web-1 free=1i,used=2i 1767225600000000000\nmem,host=web-1 free=2i,used=1i 1767225660000000000\n"


@pytest.fixture
def topic(kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A metrics topic of two partitions that a file is published to."""
    name = f"{topic_prefix}metrics"

    async def create() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        await admin.create_topics([NewTopic(name, 2, 1)])
        await admin.close()

    asyncio.run(create())
    monkeypatch.setenv("DURI_BOOTSTRAP", kafka)
    monkeypatch.setenv("DURI_TOPICS__PREFIX", topic_prefix)
    return name


def arrived(kafka: str, topic: str, number: int) -> list[tuple[int, bytes | None, bytes, list[tuple[str, bytes]]]]:
    """(partition, key, value, headers) of the first messages of the topic, by partition and offset."""

    async def read() -> list[tuple[int, bytes | None, bytes, list[tuple[str, bytes]]]]:
        found = []
        async with AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest") as consumer:
            consumer.assign([TopicPartition(topic, 0), TopicPartition(topic, 1)])
            async with asyncio.timeout(30):
                while len(found) < number:
                    for records in (await consumer.getmany(timeout_ms=500)).values():
                        found += [(one.partition, one.offset, one.key, one.value, list(one.headers)) for one in records]
        return [(partition, *rest) for partition, _, *rest in sorted(found, key=lambda one: one[:2])]

    return asyncio.run(read())


def test_a_file_is_a_message_byte_for_byte(kafka: str, topic: str, tmp_path: Path) -> None:
    """With the header that names its format; the command says what was sent where, and where refusals show."""
    file = tmp_path / "mem.lp"
    file.write_bytes(INFLUX)
    done = duri("publish", file, file, "--content-type", "application/vnd.influx.line-protocol")
    assert done.returncode == 0, done.stderr
    assert f"sent 2 messages ({2 * len(INFLUX)} B) to {topic} at {kafka}" in done.stdout
    assert "duri deadletter list" in done.stdout
    headers = [("content-type", b"application/vnd.influx.line-protocol")]
    assert arrived(kafka, topic, 2) == [(0, None, INFLUX, headers)] * 2


def test_lines_of_standard_input_with_a_key(kafka: str, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many lines a message, in order; all with the key that was given."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1\n2\n3\n")))
    assert duri("publish", "-", "--lines", "2", "--key", "shop").returncode == 0
    got = arrived(kafka, topic, 2)
    assert [(key, value) for _, key, value, _ in got] == [(b"shop", b"1\n2"), (b"shop", b"3")]


def test_a_misspelt_topic_is_told_with_the_one_that_is_there(topic: str, tmp_path: Path) -> None:
    """Nothing is sent into the void."""
    file = tmp_path / "one.json"
    file.write_bytes(b"{}")
    done = duri("publish", file, "--topic", f"{topic}x")
    assert done.returncode == 1
    assert f"there is no topic {topic}x; did you mean {topic}?" in done.stderr


def check(tmp_path: Path, content: bytes, *options: str) -> CompletedProcess[str]:
    file = tmp_path / "file"
    file.write_bytes(content)
    return duri("publish", file, "--check", *options)


def test_check_says_what_would_be_accepted(tmp_path: Path) -> None:
    """Without Kafka: the format, the samples, the series."""
    done = check(tmp_path, INFLUX)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["1 message by format: influx 1", "4 samples of 2 series would be accepted"]


def test_check_says_what_would_be_refused_and_why(tmp_path: Path) -> None:
    """Each refusal with the message, the position within it and the reason; the exit status says it too."""
    done = check(tmp_path, INFLUX + b"mem,host=web-1 free=many 1767225600000000000\n")
    assert done.returncode == 1
    assert "4 samples of 2 series would be accepted" in done.stdout
    assert "refused: message 1 at line 3: " in done.stdout
    done = check(tmp_path, b"what is\nthis?", "--lines", "1")
    assert done.returncode == 1
    assert "2 messages by format: none 2" in done.stdout
    assert "refused: message 2: format: " in done.stdout


@pytest.mark.parametrize(
    ("content", "lines", "words"),
    [(b"", None, "empty"), (b"", 3, "empty"), (b"x" * 11, None, "--lines"), (b"1\n" + b"x" * 11, 1, "line 2"),
     (b"12345\n12345\n", 2, "fewer --lines")],
)  # fmt: skip
def test_what_cannot_be_a_message_is_refused(content: bytes, lines: int | None, words: str) -> None:
    """Nothing in it, or more than the broker takes: the error names the file and the way out."""
    source = io.BytesIO(content)
    with pytest.raises(FileError, match=words):
        list(whole(source, "f", 10) if lines is None else by_lines(source, "f", lines, 10))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """One line and the status of a wrong call."""
    done = duri("publish", tmp_path / "nothing", "--check")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"duri: {tmp_path}/nothing cannot be read: No such file or directory"]
