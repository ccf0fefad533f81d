"""Showing, counting and purging dead letters, on real Kafka."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from pipeline.cli.deadletter import deadletter
from pipeline.runtime.deadletter_counts import count_by_reason
from pipeline.runtime.deadletter_log import DeadLetterLog
from pipeline.runtime.deadletter_memory import Memory, Selection
from pipeline.runtime.deadletter_purge import purge
from pipeline.runtime.deadletter_replay import replay
from tests.cli.test_deadletter import bury, came_back
from tests.metrics_topic import settings_with_topics

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from pipeline.settings import Settings

RUNNER = CliRunner()
LETTERS = [(b"a", "syntax"), (b"b", "fields"), (b"c", "syntax"), (b"d", "labels")]


@pytest.fixture
def settings(kafka, topic_prefix) -> Settings:
    return settings_with_topics(kafka, topic_prefix)


async def left(settings: Settings) -> list[bytes | None]:
    """Values of the letters that are shown."""
    async with DeadLetterLog(settings) as log:
        return [letter.value for letter in await log.newest(100)]


async def clear(settings: Settings, selection: Selection, before_ms: int | None = None) -> None:
    async with DeadLetterLog(settings) as log:
        await purge(settings, log, selection, before_ms)


async def begins_at(settings: Settings) -> int:
    """Offset of the first record that the broker still has."""
    async with DeadLetterLog(settings) as log:
        return next(iter((await log.consumer.beginning_offsets(log.places)).values()))


def test_memories_join():
    """What either memory has dealt with, the joined one has."""
    one = Memory(5, {"syntax": 9}, frozenset({12}))
    assert one.joined(Memory(7, {"syntax": 8, "fields": 11}, frozenset({6, 14}))) == Memory(
        7, {"syntax": 9, "fields": 11}, frozenset({12, 14})
    )


def test_purged_reason_is_gone_for_every_command(settings):
    """Letters of a purged reason are neither shown nor sent back; those before the first that stays are deleted."""

    async def story() -> None:
        await bury(settings, LETTERS)
        await clear(settings, Selection("syntax"))
        assert await left(settings) == [b"b", b"d"]
        assert await begins_at(settings) > 0
        async with DeadLetterLog(settings) as log:
            assert (await replay(settings, log, Selection())).sent.total() == 2
        assert [value for _, _, value, _ in await came_back(settings)] == [b"b", b"d"]
        await bury(settings, [(b"e", "syntax")])
        assert await left(settings) == [b"b", b"d", b"e"]
        await clear(settings, Selection())
        assert await left(settings) == []

    asyncio.run(story())


def test_purge_by_age_and_of_what_was_sent_back(settings):
    """Only older letters go, or only those that were replayed; the others stay and can be sent back."""

    async def story() -> None:
        await bury(settings, LETTERS[:2])
        await asyncio.sleep(0.05)
        middle_ms = round(time.time() * 1000)
        await asyncio.sleep(0.05)
        await bury(settings, LETTERS[2:])
        await clear(settings, Selection("syntax"), middle_ms)
        assert await left(settings) == [b"b", b"c", b"d"]
        await clear(settings, Selection(), middle_ms)
        assert await left(settings) == [b"c", b"d"]
        async with DeadLetterLog(settings) as log:
            await replay(settings, log, Selection("syntax"))
        await clear(settings, Selection(replayed=True))
        assert await left(settings) == [b"d"]

    asyncio.run(story())


def test_counts_by_reason(settings):
    """How many of each reason, how many of them were sent back, and the newest message."""

    async def story() -> None:
        await bury(settings, LETTERS)
        async with DeadLetterLog(settings) as log:
            await replay(settings, log, Selection("fields"))
            counts = await count_by_reason(log)
        assert {reason: (count.letters, count.sent_back) for reason, count in counts.items()} == {
            "syntax": (2, 0), "fields": (1, 1), "labels": (1, 0),
        }  # fmt: skip
        assert next(iter(counts)) == "syntax"
        assert counts["syntax"].example == "no"

    asyncio.run(story())


def test_commands(settings, tmp_path):
    """`show`, `list --by-reason` and `purge` as a person and as a program call them."""
    options = ["--config", str(configured(settings, tmp_path))]

    def duri(*words: str, answer: str | None = None) -> Result:
        return RUNNER.invoke(deadletter, [*words, *options], input=answer, env={"COLUMNS": "200"})

    asyncio.run(bury(settings, [(b"cpu,host=a usage=\x1b", "syntax"), (b"\x00\x01\xff", "fields")]))
    letters = [json.loads(line) for line in duri("list", "--json").output.splitlines()]
    first, second = (f"{letter['partition']}/{letter['offset']}" for letter in letters)
    assert "reason   syntax (stage ingest)" in duri("show", first).output
    assert "00000000  63 70 75" in duri("show", first).output
    assert "00000000  00 01 ff" in duri("show", second).output
    assert duri("show", second, "--raw").stdout_bytes == b"\x00\x01\xff"
    assert "offset 999" in str(duri("show", "0/999").exception)
    counts = [json.loads(line) for line in duri("list", "--by-reason", "--json").output.splitlines()]
    assert [(one["reason"], one["letters"]) for one in counts] == [("fields", 1), ("syntax", 1)]
    assert "sent back" in duri("list", "--by-reason").output

    assert duri("purge").exit_code == 2
    assert duri("purge", "--all", "--reason", "syntax").exit_code == 2
    refused = duri("purge", "--reason", "syntax", answer="n\n")
    assert refused.exit_code == 1
    assert "1 letter: syntax 1 (1 never sent back)" in refused.output
    assert len(duri("list", "--json").output.splitlines()) == 2
    assert "purged 1 letter: syntax 1" in duri("purge", "--reason", "syntax", answer="y\n").output
    assert "nothing to purge" in duri("purge", "--reason", "syntax", "--yes").output
    assert "purged 1 letter: fields 1" in duri("purge", "--all", "--yes").output
    assert "no dead letters" in duri("list").output


def configured(settings: Settings, folder: Path) -> Path:
    """A settings file for these topics."""
    path = folder / "duri.yaml"
    path.write_text(
        f"kafka: {{bootstrap: '{settings.kafka.bootstrap}'}}\ntopics: {{prefix: '{settings.topics.prefix}'}}\n"
        f"runtime: {{group: '{settings.runtime.group}'}}\n"
    )
    return path
