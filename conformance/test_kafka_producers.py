"""A real OpenTelemetry Collector and a real Telegraf publish; everything they were given arrives."""

from __future__ import annotations

import time
from collections import Counter

from conformance import otlp_story, producers, truth
from conformance.checks import check_otlp
from conformance.installation import SECONDS

_INTERVAL_S = 2


def test_collector(there, tmp_path):
    """OTLP protobuf and OTLP JSON of one story: every point, its series, time, value and kind."""
    topics = {encoding: f"{there.prefix}otlp-{encoding}" for encoding in ("proto", "json")}
    story = otlp_story.Story(time.time_ns())
    sent = []
    with (
        there.ingesting("otlp-proto", "otlp-json"),
        producers.collector(tmp_path, there.bootstrap, topics, by_resource=True) as url,
    ):
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            sent.append(story.next(time.time_ns()))
            producers.post_json(url, sent[-1])
            time.sleep(0.5)
        time.sleep(3)
        arrived = there.arrived()
    for encoding in ("proto", "json"):
        check_otlp(arrived[f"otlp-{encoding}"], sent, otlp_story.SERVICE)


def test_telegraf(there, tmp_path):
    """Each of its serializers: every numeric field of every metric, its series, time, value and kind."""
    topics = {name: f"{there.prefix}telegraf-{name}" for name in producers.TELEGRAF_OPTIONS}
    with there.ingesting(*(f"telegraf-{name}" for name in topics)):
        with producers.telegraf(tmp_path, there.bootstrap, topics, _INTERVAL_S, routed=True) as (statsd, written):
            ends = time.monotonic() + SECONDS
            while time.monotonic() < ends:
                producers.send_statsd(statsd, ["orders:3|c", "queue,queue=a\\ b:7|g", "latency:12|ms"])
                time.sleep(_INTERVAL_S)
        arrived = there.arrived()
    types = truth.prometheus_types(written.with_suffix(".prom").read_text())
    assert {"counter", "gauge", "untyped"} <= set(types.values())
    for name in topics:
        # Only Prometheus' text says a type. What it does not say, unless told to, is a time: then the message has it.
        says_type = name.startswith("prometheus") and name != "prometheusremotewrite"
        sent = list(truth.telegraf(written.read_text().splitlines(), types if says_type else {}))
        assert len(sent) > 500
        assert Counter(arrived[f"telegraf-{name}"]) == Counter(sent), name
