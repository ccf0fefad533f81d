"""What real producers sent (tests/golden), through ingest: every sample they were given, and no dead letter."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from conformance import truth
from conformance.checks import check_otlp, samples_of
from pipeline.ingest.stage import IngestStage
from pipeline.settings import IngestSettings
from pipeline.stage import LogRecord, Topic

if TYPE_CHECKING:
    from conformance.truth import Sample

GOLDEN = Path(__file__).parents[1] / "golden"
TELEGRAF = ["influx", "json", "prometheus", "prometheus-timestamps", "prometheusremotewrite"]


class Ingested(NamedTuple):
    """What came of the payloads of one folder."""

    samples: list[Sample]
    dead: list[dict[str, str]]


def ingest(name: str) -> Ingested:
    """The folder's payloads as messages without key or headers, in order."""
    folder = GOLDEN / name
    payloads = [path.read_bytes() for path in sorted(folder.glob("*.bin"))]
    stamps = about(name).get("kafka_timestamps") or [1_795_572_900_000] * len(payloads)
    log = [
        LogRecord("duri.metrics", 0, number, stamp, None, payload)
        for number, (payload, stamp) in enumerate(zip(payloads, stamps, strict=True))
    ]
    stage = IngestStage(IngestSettings(), source="duri.metrics/0", samples_partitions=1)
    samples: list[Sample] = []
    dead = []
    for output in stage.step(log):
        if output.topic is Topic.SAMPLES:
            samples += samples_of(output.value)
        else:
            dead.append({name: value.decode() for name, value in output.headers})
    return Ingested(samples, dead)


def about(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / name / "about.json").read_text())


@pytest.mark.parametrize("data_format", TELEGRAF)
def test_telegraf(data_format):
    """Every numeric field of every metric, whatever the serializer: series, time, value and kind."""
    name = f"telegraf-{data_format}"
    found = ingest(name)
    assert found.dead == []
    samples = set(found.samples)
    types = {}
    if data_format.startswith("prometheus") and data_format != "prometheusremotewrite":
        types = truth.prometheus_types("".join(path.read_text() for path in (GOLDEN / name).glob("*.bin")))
    # One message a metric; the recording may have ended before the last ones of the file came. A text without times has
    # the message's, which Telegraf sets to the metric's.
    sent = [set(truth.telegraf([line], types)) for line in (GOLDEN / name / "sent.jsonl").read_text().splitlines()]
    arrived = [metric for metric in sent if metric & samples]
    assert len(arrived) == about(name)["payloads"]
    assert set().union(*arrived) == samples
    assert len(found.samples) == len(samples)


@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_collector(encoding):
    """Every point of every kind of metric: series, time, value and kind; a reset is told by the new start time."""
    name = f"collector-otlp-{encoding}"
    found = ingest(name)
    assert found.dead == []
    requests = [json.loads(line) for line in (GOLDEN / name / "sent.jsonl").read_text().splitlines()]
    check_otlp(found.samples, requests, "shop")


@pytest.mark.parametrize("name", ["prometheus-remote-write-1.0", "prometheus-remote-write-2.0", "vmagent-remote-write"])
def test_remote_write(name):
    """Every series of the page scraped, its values in order; the one that vanished ends with a staleness marker."""
    found = ingest(name)
    assert found.dead == []
    series: dict[tuple[str, truth.Labels], list[Sample]] = {}
    for one in found.samples:
        labels = dict(one.labels)
        assert labels.pop("service") == labels.pop("job") == "shop"
        del labels["instance"]
        series.setdefault((one.name, frozenset(labels.items())), []).append(one)
    scraped = truth.scraped(about(name)["scraped"])
    assert scraped.keys() <= series.keys()
    for key, values in scraped.items():
        got = [one.value for one in series[key] if not math.isnan(one.value)]
        assert got
        assert got == values[: len(got)]
        times = [one.ts for one in series[key]]
        assert times == sorted(set(times))
    own = {key[0] for key in series.keys() - scraped.keys() if key[0] not in ("nothing_yet", "rpc_seconds")}
    assert all(name == "up" or name.startswith("scrape_") for name in own)
    assert math.isnan(series["queue_depth", frozenset({("queue", "mails")})][-1].value)


def test_protocol_of_victoriametrics_is_refused_with_a_remedy():
    """vmagent's own protocol is dead-lettered, and the message says which option turns it off."""
    found = ingest("vmagent-own-protocol")
    assert found.samples == []
    assert len(found.dead) == about("vmagent-own-protocol")["payloads"]
    assert all("remoteWrite.forcePromProto" in letter["duri.error.message"] for letter in found.dead)
