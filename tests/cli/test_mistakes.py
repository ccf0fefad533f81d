"""Common mistakes on the command line: one message (what, where, what to do next), a status, no traceback, no noise."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.installation import duri

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "127.0.0.1:9"


@pytest.mark.parametrize(
    "command",
    [
        ("topics", "create"),
        ("topics", "describe"),
        ("deadletter", "list"),
        ("feedback", "x", "applied"),
        ("catalogue", "stats"),
        ("watch",),
        ("collect", "host"),
    ],
    ids=" ".join,
)
def test_no_broker_is_one_line(command: tuple[str, ...]) -> None:
    """The address and the way out, and nothing of what the client tried meanwhile."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *command, "--bootstrap", NOBODY],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"duri: no Kafka broker answers at {NOBODY} (PLAINTEXT); check the address (--bootstrap")
    assert line.endswith("start one with `duri broker`")


def test_a_worker_says_at_once_that_it_waits_and_stops_when_told() -> None:
    """Whom it waits for and for how long; nothing of the client's attempts; SIGTERM ends the wait, and well."""
    command = [sys.executable, "-m", "pipeline", "run", "--bootstrap", NOBODY, "--http-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        said = [json.loads(worker.stderr.readline()) for _ in range(2)]
        worker.send_signal(signal.SIGTERM)
        rest = [json.loads(line) for line in worker.stderr]
        # Far less than the half minute for which it would wait.
        assert worker.wait(timeout=15) == 0
    assert [one["event"] for one in said] == ["health and metrics", "no Kafka broker answers yet; waiting for it"]
    assert (said[1]["address"], said[1]["at_most_s"]) == (NOBODY, 30.0)
    assert [one["event"] for one in rest] == ["stopped"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kafka: {bootstrp: a}", "1: kafka.bootstrp: Extra inputs are not permitted; did you mean bootstrap?"),
        ("ingest: {max_nestin: 3}", "1: ingest.max_nestin: Extra inputs are not permitted; did you mean max_nesting?"),
        ("detect:\n  multivariate: {enabeld: no}",
         "2: detect.multivariate.enabeld: Extra inputs are not permitted; did you mean enabled?"),
        ("kafak: {}", "1: kafak: Extra inputs are not permitted; did you mean kafka?"),
    ],
)  # fmt: skip
def test_a_misspelt_setting_is_told_with_the_right_one(tmp_path: Path, text: str, told: str) -> None:
    """File, line, key, and what was probably meant."""
    config = tmp_path / "duri.yaml"
    config.write_text(text)
    done = duri("run", "--config", config)
    assert done.returncode == 2
    assert done.stderr == f"duri: {config}:{told}\n"


@pytest.mark.parametrize("begin", ["7d", "2026-01-31T12:00:00Z"])
def test_an_export_begins_where_people_say(tmp_path: Path, begin: str) -> None:
    """`--from 7d` as README has it; it is the broker that is missing here."""
    done = duri("dataset", "export", "--from", begin, "--out", tmp_path / "out", "--bootstrap", NOBODY)
    assert done.returncode == 1
    assert NOBODY in done.stderr
