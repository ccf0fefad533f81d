"""What real producers sent (tests/golden), through ingest: every sample they were given, and no dead letter."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conformance import truth
from conformance.truth import Sample
from pipeline.batch import decode_batch
from pipeline.ingest.stage import IngestStage
from pipeline.series import parse_canonical
from pipeline.settings import IngestSettings
from pipeline.stage import LogRecord, Topic

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


def samples_of(message: bytes) -> list[Sample]:
    """The samples of a message of `duri.samples`."""
    batch = decode_batch(message)
    known = {}
    found = []
    for row, (identity, ts, value) in enumerate(zip(batch.series, batch.ts, batch.value, strict=True)):
        canonical = batch.labels[row].as_py()
        if canonical is not None:
            known[identity] = parse_canonical(canonical)
        series = known[identity]
        found.append(Sample(series.name, frozenset(series.labels.items()), int(ts), float(value), series.kind.value))
    return found


@pytest.mark.parametrize("data_format", TELEGRAF)
def test_telegraf(data_format):
    """Every numeric field of every metric, whatever the serializer: series, time and value."""
    name = f"telegraf-{data_format}"
    found = ingest(name)
    assert found.dead == []
    sent = list(truth.telegraf((GOLDEN / name / "sent.jsonl").read_text().splitlines()))
    if data_format == "prometheus":  # without times in the text, the message's counts
        sent_values = {(one.name, one.labels, one.value) for one in sent}
        assert {(one.name, one.labels, one.value) for one in found.samples} <= sent_values
        newest = max(one.ts for one in sent)
        assert all(one.ts <= newest + 10_000 for one in found.samples)
    else:
        assert {one._replace(kind="") for one in found.samples} <= set(sent)
    assert len(set(found.samples)) == len(found.samples) > 100
    if data_format.startswith("prometheus") and data_format != "prometheusremotewrite":
        kinds = {one.name: one.kind for one in found.samples}
        assert (kinds["orders_value"], kinds["queue_value"]) == ("counter", "gauge")


@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_collector(encoding):
    """Every point of every kind of metric: series, time, value and kind; a reset is told by the new start time."""
    name = f"collector-otlp-{encoding}"
    found = ingest(name)
    assert found.dead == []
    requests = [json.loads(line) for line in (GOLDEN / name / "sent.jsonl").read_text().splitlines()]
    check_otlp(found.samples, requests, "shop")


def check_otlp(samples: list[Sample], requests: list[dict[str, Any]], service: str) -> None:
    """Everything that was sent is there, and nothing else but zeros at the start of counts."""
    exponential = [one for one in samples if one.name == "rpc.client.duration_bucket"]
    others = [one for one in samples if one.name != "rpc.client.duration_bucket"]
    sent = comparable([sample for request in requests for sample in truth.otlp(request, service)])
    found = comparable(others)
    assert sent.keys() <= found.keys()
    assert all(found[one] == 1 for one in sent)
    # A count says with each point when it began: that it was 0 then may be told each time.
    of_points = points(requests)
    starts = {int(point["startTimeUnixNano"]) // 1_000_000 for _, point in of_points if "startTimeUnixNano" in point}
    for _, _, ts, value, kind in found.keys() - sent.keys():
        assert (value, kind in ("counter", "bucket"), ts in starts) == ("0.0", True, True)
    by_ts = {int(one["timeUnixNano"]) // 1_000_000: one for name, one in of_points if name == "rpc.client.duration"}
    for one in exponential:
        bound = float(dict(one.labels)["le"])
        assert (one.kind, one.value) == ("delta_bucket", truth.exponential_below(by_ts[one.ts], bound))
    bounds = {round(float(dict(one.labels)["le"]), 9) for one in exponential}
    assert bounds >= {-1.0, 2.0, 4.0, math.inf}
    assert {one.ts for one in exponential} == by_ts.keys()


def comparable(samples: list[Sample]) -> Counter[tuple[object, ...]]:
    """How often each sample is there, as things that can be compared although a value is NaN."""
    return Counter((one.name, one.labels, one.ts, str(one.value), one.kind) for one in samples)


def points(requests: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """(metric, point) of all requests."""
    return [
        (metric["name"], point)
        for request in requests
        for resource in request["resourceMetrics"]
        for scope in resource["scopeMetrics"]
        for metric in scope["metrics"]
        for data in metric.keys() - {"name", "unit"}
        for point in metric[data]["dataPoints"]
    ]


@pytest.mark.parametrize("name", ["prometheus-remote-write-1.0", "vmagent-remote-write"])
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
