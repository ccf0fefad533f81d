"""Dead letters in the whole flow: refused, the cause mended, sent back, read; and nothing twice."""

from __future__ import annotations

import asyncio
import json

from tests.builders import START
from tests.installation import Installation
from tests.samples_topic import read_samples

LONG = "x" * 300
MESSAGE = json.dumps({"name": "up", "labels": {"service": "shop", "path": LONG}, "ts": START, "value": 1}).encode()


def test_replay_after_a_fix_adds_each_sample_once(kafka, topic_prefix):
    """Labels too long for the settings: refused; with a wider limit sent back twice, the sample is there once."""
    # START lies further back than the clock of whoever runs this may allow for.
    always = {"DURI_INGEST__MAX_PAST_S": "1e9"}
    narrow = Installation(kafka, topic_prefix, DURI_INGEST__MAX_LABEL_BYTES="200", **always).with_topics()
    with narrow.running("ingest"):
        narrow.publish([("metrics", MESSAGE, []), ("metrics", MESSAGE.replace(LONG.encode(), b"short"), [])])
        assert wait_for_letters(narrow) == [{"labels": 1}]
        assert narrow.command("deadletter", "replay", "--all").returncode == 0
        assert wait_for_letters(narrow, 2) == [{"labels": 2}]
    wide = Installation(kafka, topic_prefix, **always)
    with wide.running("ingest"):
        for told in ("1 letter sent back to", "nothing to send back"):
            assert told in wide.command("deadletter", "replay", "--all").stdout
        wide.publish([("metrics", MESSAGE.replace(LONG.encode(), b"last"), [])])
        samples = asyncio.run(read_samples(wide, until=lambda found: any(one["path"] == "last" for one in found)))
    assert sorted(len(one["path"]) for one in samples) == [len("last"), len("short"), len(LONG)]


def wait_for_letters(there: Installation, letters: int = 1) -> list[dict[str, int]]:
    """The counts by reason, once there are so many letters."""
    for _ in range(60):
        told = there.command("deadletter", "list", "--by-reason", "--json").stdout.splitlines()
        counts = [{one["reason"]: one["letters"]} for one in map(json.loads, told)]
        if sum(sum(one.values()) for one in counts) >= letters:
            break
    return counts
