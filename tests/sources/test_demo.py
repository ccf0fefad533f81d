"""The demo from its command to its summary, on real Kafka."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from pipeline.runtime.admin import ClusterAdmin
from pipeline.settings import load_settings

PROGRAM = "import typer; from pipeline.cli.demo import demo; typer.run(demo)"


@pytest.mark.slow
def test_demo_finds_every_fault_and_leaves_nothing_behind(kafka: str) -> None:
    """Each fault is flagged, ahead of its static rule; the summary is the only output; the topics are gone."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--json", "--bootstrap", kafka],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {fault["kind"] for fault in summary["faults"]} == {
        "cache_evicting",
        "bad_deploy",
        "pool_exhausted",
        "memory_leak",
    }
    for fault in summary["faults"]:
        assert fault["first_flag"] is not None, fault
        assert fault["lead_s"] > 0, fault
        assert fault["right_advice"] is not None, fault
    assert summary["totals"]["samples"] > 1_900_000
    assert summary["totals"]["false_recommendations"] == 0
    assert not [name for name in asyncio.run(topics(kafka)) if name.startswith("duri-demo-")]


async def topics(bootstrap: str) -> dict[str, int]:
    settings = load_settings(overrides={"kafka.bootstrap": bootstrap})
    async with ClusterAdmin(settings.kafka) as admin:
        return await admin.topics()
