from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.structs import OffsetAndMetadata
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli.deadletter import deadletter, parse_place
from pipeline.cli.deadletter_words import first_bytes, letter_table, reason_table
from pipeline.errors import BrokerError, DecodeError, FencedError, FileError, StateError
from pipeline.ingest.deadletters import dead_letter
from pipeline.runtime.admin import ClusterAdmin
from pipeline.runtime.deadletter_counts import ReasonCount
from pipeline.runtime.deadletter_letter import Letter, read_letter
from pipeline.runtime.deadletter_log import DeadLetterLog
from pipeline.runtime.deadletter_memory import MAX_SINGLES, Memory, Selection, read_memory
from pipeline.runtime.deadletter_replay import Replayed, replay
from pipeline.runtime.topology import create_topics
from pipeline.settings import Settings, load_settings
from pipeline.stage import LogRecord, Topic
from tests.committed import committed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

ALL = Selection()
RUNNER = CliRunner()


def letter(offset: int, reason: str = "syntax", partition: int = 0) -> Letter:
    return Letter(partition, offset, 0, None, b"", (), {"reason": reason, "topic": "t", "partition": "0"})


# --- tables ---------------------------------------------------------------------------------------------------


LONG = {
    "reason": "timestamp",
    "topic": "duri.metrics.of.a.long.name",
    "partition": "11",
    "offset": "1234567890",
    "position": "resourceMetrics[0].scopeMetrics[0].metrics[2].dataPoints[0]",
    "message": "a point without a time after 1970 " * 3,
}


def printed(table: Table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_narrow_terminal_cuts_nothing(width: int):
    """Whoever reads it can name the place, topic, partition, offset and position, whatever the width."""
    lines = printed(letter_table([(Letter(10, 123456, 0, None, b"{" * 100, (), LONG), False)]), width)
    assert all(len(line.rstrip()) <= width for line in lines)
    assert lines[0].startswith("10/123456  1970-01-01 00:00:00  timestamp  ")
    text = "".join(line.strip() for line in lines).replace(" ", "")
    for part in (f"{LONG['topic']}/11@{LONG['offset']},{LONG['position']}", LONG["message"], "{" * 60):
        assert part.replace(" ", "") in text


@pytest.mark.parametrize("width", [80, 120])
def test_counts_are_a_line_a_reason(width: int):
    """Reason, counts and time stand in one line even where the message needs several."""
    counts = {
        "syntax": ReasonCount(12_345, 7, 1, 86_400_000, "expected a value at byte 17 of the message " * 3),
        "timestamp": ReasonCount(2, 0, 1, 1, "early"),
    }
    lines = printed(reason_table(counts), width)
    assert all(len(line.rstrip()) <= width for line in lines)
    assert any(line.split()[:6] == ["syntax", "12", "345", "7", "1970-01-02", "00:00:00"] for line in lines)
    assert any(line.split()[:3] == ["timestamp", "2", "0"] for line in lines)


# --- letters and memory ---------------------------------------------------------------------------------------


def test_letter_is_the_inverse_of_dead_letter():
    """Reading a dead letter gives the original record back, and its reason."""
    headers = [("trace", b"1"), ("trace", b"2"), ("duri.error.reason", b"an earlier failure")]
    record = LogRecord("duri.metrics", 3, 17, 1_000, b"key", b"\x00bad", headers)
    output = dead_letter(record, DecodeError("not JSON", reason="syntax"), stage="ingest")
    read = read_letter(LogRecord("duri.deadletter", 0, 5, 2_000, output.key, output.value, output.headers))
    assert (read.key, read.value, read.headers) == (b"key", b"\x00bad", [("trace", b"1"), ("trace", b"2")])
    assert (read.origin, read.reason) == (("duri.metrics", 3), "syntax")
    assert (read.error["message"], read.error["class"], read.error["offset"]) == ("not JSON", "DecodeError", "17")


@pytest.mark.parametrize("headers", [(), (("duri.error.topic", b"t"),), (("duri.error.partition", b"x"),)])
def test_foreign_record_has_no_origin(headers):
    """What somebody else put on the topic is a letter without an address, not an error."""
    assert read_letter(LogRecord("duri.deadletter", 0, 5, 0, None, None, headers)).origin is None


def test_memory_knows_what_each_replay_took():
    """By reason, one by one and all: each covers exactly its letters, and all of them survive being stored."""
    memory = Memory().after(Selection(reason="syntax"), 10).after(Selection(single=(0, 12)), 13)
    memory = read_memory(memory.stored(), "group")
    assert memory.has(letter(9))
    assert not memory.has(letter(9, "fields"))
    assert not memory.has(letter(10))
    assert memory.has(letter(12, "fields"))
    memory = memory.after(ALL, 11)
    assert memory == Memory(11, {}, frozenset({12}))
    assert memory.has(letter(10, "fields"))
    assert memory.first(ALL) == 11
    assert memory.first(Selection(again=True)) == 0


def test_memory_never_goes_back():
    """Replaying from the beginning again does not forget what was replayed."""
    assert Memory(50).after(Selection(again=True), 20) == Memory(50)
    assert Memory(0, {"syntax": 9}).after(Selection("syntax", again=True), 4) == Memory(0, {"syntax": 9})


def test_memory_is_bounded():
    """More single letters than the broker's metadata can hold are refused before anything is sent."""
    memory = Memory(singles=frozenset(range(MAX_SINGLES)))
    with pytest.raises(StateError, match="--all"):
        memory.after(Selection(single=(0, 999)), 1000)
    full = Memory(10**9, {}, frozenset(range(10**9, 10**9 + MAX_SINGLES)))
    assert len(full.stored().metadata) < 4096


@pytest.mark.parametrize("metadata", ["{", "7", '{"reasons": 3}', '{"singles": 3}'])
def test_foreign_metadata_is_refused(metadata):
    """What another program committed for the group is not taken for ours."""
    with pytest.raises(StateError, match="delete the group"):
        read_memory(OffsetAndMetadata(3, metadata), "group")


@pytest.mark.parametrize(("text", "place"), [("17", (0, 17)), ("2/17", (2, 17))])
def test_place(text, place):
    """A letter is named as `list` shows it."""
    assert parse_place(text, "--offset") == place


@pytest.mark.parametrize("arguments", [[], ["--all", "--reason", "x"], ["--offset", "x"], ["--offset", "/3"]])
def test_replay_must_be_told_which(arguments):
    """Without a clear choice nothing is sent."""
    assert RUNNER.invoke(deadletter, ["replay", *arguments]).exit_code == 2


def test_first_bytes():
    """Text shows as text; what a terminal would obey, or cannot show, is escaped; long letters are cut."""
    assert first_bytes(b'[bold]{"a": 1}') == '[bold]{"a": 1}'
    assert first_bytes(b"\x1b[2J") == "\\x1b[2J"
    assert first_bytes(b"\xff\x00") == "\\xff\\x00"
    assert len(first_bytes(b"x" * 1000)) == 60


# --- on Kafka -------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(kafka, topic_prefix) -> Settings:
    """Settings with topics of their own, created."""
    settings = load_settings(
        overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix, "runtime.group": f"{topic_prefix}group"}
    )

    async def create() -> None:
        async with ClusterAdmin(settings.kafka) as admin:
            await create_topics(admin, settings)

    asyncio.run(create())
    return settings


async def bury(settings: Settings, records: Sequence[tuple[bytes, str]], *, topic: str | None = None) -> None:
    """Put dead letters on the topic as ingest does: value and reason of each, all from metrics/2."""
    origin = topic or settings.topics.name(Topic.METRICS)
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap, transactional_id=f"{settings.runtime.group}-ingest"
    ) as producer:
        for number, (value, reason) in enumerate(records):
            record = LogRecord(origin, 2, number, 0, b"key", value, [("trace", b"1")])
            output = dead_letter(record, DecodeError("no", reason=reason), stage="ingest")
            async with producer.transaction():
                await producer.send_and_wait(
                    settings.topics.name(Topic.DEADLETTER), output.value, output.key, headers=list(output.headers)
                )


async def run(settings: Settings, selection: Selection) -> Replayed:
    async with DeadLetterLog(settings) as log:
        return await replay(settings, log, selection)


async def came_back(settings: Settings) -> list[tuple[int, bytes | None, bytes | None, tuple]]:
    """Everything on the metrics topic, as (partition, key, value, headers)."""
    return [(one.partition, one.key, one.value, one.headers) for one in await committed(settings, Topic.METRICS)]


@pytest.mark.parametrize("guarantee", ["exactly_once", "at_least_once"])
def test_each_letter_goes_back_once(settings, guarantee):
    """Original bytes, key and headers to the original partition; a second replay sends only what is new."""
    runtime = settings.runtime.model_copy(update={"guarantee": guarantee})
    settings = settings.model_copy(update={"runtime": runtime})
    metrics = settings.topics.name(Topic.METRICS)

    async def story() -> None:
        await bury(settings, [(b"a", "syntax"), (b"b", "fields"), (b"c", "syntax")])
        assert (await run(settings, Selection("syntax"))).sent == {metrics: 2}
        again = await run(settings, Selection("syntax"))
        assert (again.sent, again.before) == ({}, 2)
        await bury(settings, [(b"", "empty")])
        rest = await run(settings, ALL)
        assert (rest.sent, rest.before) == ({metrics: 2}, 2)
        assert (await run(settings, ALL)).sent == {}
        assert [value for _, _, value, _ in await came_back(settings)] == [b"a", b"c", b"b", b""]
        assert (await run(settings, Selection(again=True))).sent == {metrics: 4}
        assert set(await came_back(settings)) == {(2, b"key", v, (("trace", b"1"),)) for v in (b"a", b"b", b"c", b"")}

    asyncio.run(story())


def test_single_letter(settings):
    """One letter by its place, once; a place that holds none is an error that names it."""

    async def story() -> None:
        await bury(settings, [(b"a", "syntax"), (b"b", "syntax")])
        async with DeadLetterLog(settings) as log:
            second = (await log.newest(10))[1]
        one = Selection(single=(0, second.offset))
        assert (await run(settings, one)).sent.total() == 1
        assert (await run(settings, one)).sent.total() == 0
        assert (await run(settings, ALL)).sent.total() == 1
        for place in ((0, 999), (9, 0)):
            with pytest.raises(FileError, match=f"{place[0]} has no letter at offset {place[1]}"):
                await run(settings, Selection(single=place))
        assert [value for _, _, value, _ in await came_back(settings)] == [b"b", b"a"]

    asyncio.run(story())


def test_missing_origin_stops_before_anything_is_sent(settings):
    """A letter whose topic is gone names it; the others can be chosen, and are not lost."""

    async def story() -> None:
        await bury(settings, [(b"a", "syntax")])
        await bury(settings, [(b"b", "fields")], topic="nowhere")
        with pytest.raises(BrokerError, match="nowhere"):
            await run(settings, ALL)
        assert await came_back(settings) == []
        assert (await run(settings, Selection("syntax"))).sent.total() == 1

    asyncio.run(story())


def test_foreign_records_are_left_alone(settings):
    """A record that does not say where it came from is counted and stays."""

    async def story() -> None:
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
            await producer.send_and_wait(settings.topics.name(Topic.DEADLETTER), b"what is this")
        result = await run(settings, ALL)
        assert (result.sent.total(), result.unaddressed) == (0, 1)

    asyncio.run(story())


def test_later_replay_ends_the_earlier(settings):
    """Two replays at once: the first is fenced, and no letter goes back twice."""

    class Slow(DeadLetterLog):
        async def read(self, place, first):
            async for found in super().read(place, first):
                assert (await run(settings, ALL)).sent.total() == 1
                yield found

    async def story() -> None:
        await bury(settings, [(b"a", "syntax")])
        async with Slow(settings) as log:
            with pytest.raises(FencedError, match="another replay"):
                await replay(settings, log, ALL)
        assert [value for _, _, value, _ in await came_back(settings)] == [b"a"]

    asyncio.run(story())


def test_newest_letters_only(settings):
    """A long topic is not read from its beginning for the last few letters."""

    async def story() -> list[bytes]:
        await bury(settings, [(str(number).encode(), "syntax") for number in range(30)])
        async with DeadLetterLog(settings) as log:
            return [letter.value for letter in await log.newest(3)]

    assert asyncio.run(story()) == [b"27", b"28", b"29"]


def test_fewer_partitions_than_before(settings):
    """A letter from a partition that its topic no longer has goes to one that it has."""

    async def story() -> None:
        narrow = f"{settings.topics.prefix}narrow"
        async with ClusterAdmin(settings.kafka) as admin:
            await admin.create([NewTopic(narrow, 1, 1)])
        await bury(settings, [(b"a", "syntax")], topic=narrow)
        assert (await run(settings, ALL)).sent == {narrow: 1}

    asyncio.run(story())


def test_commands(settings, tmp_path):
    """`list` and `replay` as a person and as a program call them."""
    config = tmp_path / "duri.yaml"
    config.write_text(
        f"kafka: {{bootstrap: '{settings.kafka.bootstrap}'}}\ntopics: {{prefix: '{settings.topics.prefix}'}}\n"
        f"runtime: {{group: '{settings.runtime.group}'}}\n"
    )
    options = ["--config", str(config)]
    assert "no dead letters" in RUNNER.invoke(deadletter, ["list", *options]).output
    asyncio.run(bury(settings, [(b"[bold]x", "syntax"), (b"\xff", "fields")]))
    shown = RUNNER.invoke(deadletter, ["list", *options], env={"COLUMNS": "220"}).output
    assert "[bold]x" in shown
    assert f"{settings.topics.name(Topic.METRICS)}/2 @ 0" in shown
    lines = RUNNER.invoke(deadletter, ["list", "--json", "--limit", "1", *options]).output.splitlines()
    (last,) = map(json.loads, lines)
    assert (last["reason"], last["first_bytes"], last["origin"]["offset"]) == ("fields", "\\xff", "1")
    result = RUNNER.invoke(deadletter, ["replay", "--reason", "syntax", *options])
    assert result.exit_code == 0, result.output
    assert "1 letter sent back to" in result.output
    shown = RUNNER.invoke(deadletter, ["list", *options], env={"COLUMNS": "220"}).output
    heads = [line for line in shown.splitlines() if "/2 @ " in line]
    assert [head.endswith("sent back") for head in map(str.rstrip, heads)] == [True, False]
    result = RUNNER.invoke(deadletter, ["replay", "--all", "--json", *options])
    assert json.loads(result.output)["sent"] == 1
    assert "nothing to send back" in RUNNER.invoke(deadletter, ["replay", "--all", *options]).output


def test_missing_topic_is_named(kafka, topic_prefix):
    """Where the topics were never created, the error says so and what to do."""
    settings = load_settings(overrides={"kafka.bootstrap": kafka, "topics.prefix": topic_prefix})
    with pytest.raises(BrokerError, match=f"no topic {topic_prefix}deadletter; create it with `duri topics create`"):
        asyncio.run(run(settings, ALL))
