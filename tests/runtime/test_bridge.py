"""The bridge from a real Prometheus while the broker is killed."""

from __future__ import annotations

import itertools
import json
import signal
import time
from datetime import datetime
from typing import TYPE_CHECKING

from tests.bridging import assert_published_once, start_bridge, wait_for
from tests.metrics_topic import settings_with_topics
from tests.prometheus_server import exporter, prometheus, require_prometheus

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.runtime.broker import EmbeddedBroker


def test_a_killed_broker_costs_the_bridge_time_only(
    mortal_broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """kill -9 of the broker, then of both: every sample of the server arrives, once."""
    require_prometheus()
    settings = settings_with_topics(mortal_broker.bootstrap, topic_prefix)
    page = itertools.count(1)
    (tmp_path / "prometheus").mkdir()
    with (
        exporter(lambda: f"requests_total {next(page)}\nlevel 0.5\n") as target,
        prometheus(tmp_path / "prometheus", targets=[target]) as server,
    ):
        bridge = start_bridge(settings, server.url, tmp_path)
        try:
            wait_for(settings, round(time.time() * 1000))
            mortal_broker.kill()  # 1 the broker alone
            time.sleep(1)
            mortal_broker.start()
            wait_for(settings, round(time.time() * 1000))
            mortal_broker.kill()  # 2 both; the bridge comes back first
            bridge.kill()
            bridge.communicate(timeout=60)
            bridge = start_bridge(settings, server.url, tmp_path)
            time.sleep(4)
            mortal_broker.start()
            end_ms = round(time.time() * 1000) + 1000
            wait_for(settings, end_ms)
            bridge.send_signal(signal.SIGTERM)
            _, told = bridge.communicate(timeout=60)
        finally:
            bridge.kill()
        assert bridge.returncode == 0, told
        assert "the bridge waits" in told
        lines = [json.loads(line) for line in told.splitlines()]
        assert lines[0]["event"] == "the bridge begins"
        assert (lines[0]["url"], lines[0]["every_s"]) == (server.url, 0.3)
        assert lines[0]["to"] == f"{topic_prefix}metrics at {mortal_broker.bootstrap}"
        assert lines[-1]["event"] == "the bridge ends"
        assert lines[-1]["samples"] > 0
        assert datetime.fromisoformat(lines[-1]["until"]).timestamp() * 1000 >= end_ms
        assert_published_once(settings, server, end_ms, at_least=30)
