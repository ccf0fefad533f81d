"""Which services belong to one incident, which is its cause, and how it is told."""

from __future__ import annotations

import pytest

from pipeline.records import Severity, content_id
from pipeline.stage import Topic
from tests.advise.helpers import GIB, SLOW, Fault, Story, advice, at, make_stage, of

POOL = Fault({**SLOW, "app.pool.utilisation": 1.0, "app.pool.acquire.p95": 0.2}, rising=["http.latency.p95"])


def test_one_incident_for_neighbours_with_the_cause_behind() -> None:
    """Callers that are slow because of a callee belong to its incident; only the callee is advised on."""
    services = ("duri_control", "duri_core", "duri_brain")
    slow = Fault(SLOW, rising=["http.latency.p95"])
    faults = {"duri_control": slow, "duri_core": slow, "duri_brain": POOL}
    outputs = make_stage().step(Story(services).healthy(40).troubled(5, faults).take())
    incidents = of(outputs, Topic.INCIDENTS)
    assert len({record["id"] for record in incidents}) == 1
    assert incidents[-1]["cause"] == "duri_brain"
    assert incidents[-1]["services"] == ["duri_brain", "duri_control", "duri_core"]
    assert [record["target"]["service"] for record in advice(outputs)] == ["duri_brain"]


@pytest.mark.parametrize(
    ("signal", "fault", "words"),
    [
        ("http.error_ratio", 0.9896, "http.error_ratio 99 % (expected 0.1 %)"),
        ("http.latency.p95", 0.912345, "http.latency.p95 912 ms (expected 150 ms)"),
        ("container.memory.bytes", 0.97 * GIB, "container.memory.bytes 1.04 GB (expected 512 MiB)"),
    ],
)
def test_a_summary_has_units(signal: str, fault: float, words: str) -> None:
    """What an incident is about is said as people read it: percent, milliseconds, bytes."""
    story = Story().healthy(40).troubled(5, {"duri_core": Fault({signal: fault}, rising=[signal])})
    [*_, incident] = of(make_stage().step(story.take()), Topic.INCIDENTS)
    assert words in incident["summary"]


def test_a_summary_speaks_of_what_is_still_off() -> None:
    """An anomaly stays open for a while after its signal is back, and says nothing then."""
    back = Fault({"http.latency.p95": 0.9}, rising=["container.memory.bytes", "http.latency.p95"])
    [*_, incident] = of(make_stage().step(Story().healthy(40).troubled(5, {"duri_core": back}).take()), Topic.INCIDENTS)
    assert "http.latency.p95 900 ms" in incident["summary"]


def test_incidents_that_meet_are_merged() -> None:
    """Two incidents become one when the service between them is hit; advice moves along."""
    services = ("duri_control", "duri_core", "duri_brain")
    slow = Fault(SLOW, rising=["http.latency.p95"])
    story, stage = Story(services).healthy(40), make_stage()
    story.troubled(3, {"duri_control": slow}).troubled(3, {"duri_control": slow, "duri_brain": POOL})
    outputs = stage.step(story.take())
    assert len({record["id"] for record in of(outputs, Topic.INCIDENTS)}) == 2
    outputs = stage.step(story.troubled(3, {"duri_control": slow, "duri_core": slow, "duri_brain": POOL}).take())
    closed = [record for record in of(outputs, Topic.INCIDENTS) if record["state"] == "closed"]
    assert len(closed) == 1
    assert closed[0]["summary"].startswith("Part of incident")
    assert stage.statistics()["incidents_open"] == 1
    assert of(outputs, Topic.INCIDENTS)[-1]["cause"] == "duri_brain"


def test_complaints_at_the_same_time_are_one_incident() -> None:
    """Two that hang together over a healthy service, and complain at once, share an incident; certainty is capped."""
    services = ("duri_control", "duri_core", "duri_brain")
    slow = Fault(SLOW, rising=["http.latency.p95"])
    story = Story(services).healthy(40).troubled(5, {"duri_control": slow, "duri_brain": POOL})
    found = of(make_stage().step(story.take()), Topic.INCIDENTS)
    assert len({record["id"] for record in found}) == 1
    assert found[-1]["services"] == ["duri_brain", "duri_control"]
    assert found[-1]["certainty"] <= 0.6
    assert {suspect["service"] for suspect in found[-1]["suspects"]} == {"duri_brain", "duri_control"}


@pytest.mark.parametrize(("share", "speaks"), [(0.05, False), (0.1, True)])
def test_failures_of_few_calls_need_more_than_chance(share: float, speaks: bool) -> None:
    """One of twenty calls that fails, every tenth minute, is nothing; two of twenty are."""
    story, stage = Story().healthy(40), make_stage()
    failing = Fault(
        {"http.rps": 1 / 3, "http.error_ratio": share, "http.availability": 1 - share}, rising=["http.error_ratio"]
    )
    calm = Fault({"http.rps": 1 / 3})
    story.troubled(1, {"duri_core": failing}).troubled(9, {"duri_core": calm})
    outputs = stage.step(story.take())
    assert bool(of(outputs, Topic.INCIDENTS)) is speaks
    assert stage.statistics()["doubted_anomalies_total"] == (0 if speaks else 1)


def test_strangers_have_incidents_of_their_own() -> None:
    """Services that do not call one another do not share an incident."""
    story = Story(("shop", "mail")).healthy(40).troubled(5, {"shop": POOL, "mail": POOL})
    found = of(make_stage().step(story.take()), Topic.INCIDENTS)
    assert {tuple(record["services"]) for record in found} == {("shop",), ("mail",)}


def test_noise_of_a_neighbour_is_no_cause() -> None:
    """A service that is two per cent slower than usual explains nothing, however many requests it has."""
    busy = {name: value * 1.02 for name, value in SLOW.items()}
    services = ("duri_core", "duri_brain")
    noisy = Fault({"http.rps": 50_000.0, "http.latency.p95": 0.153, "http.latency.p99": 0.306})
    outputs = make_stage().step(
        Story(services)
        .healthy(40)
        .troubled(5, {"duri_core": Fault(busy, rising=["http.latency.p95"]), "duri_brain": noisy})
        .take()
    )
    assert of(outputs, Topic.INCIDENTS)[-1]["cause"] == "duri_core"


BELOW = Fault({"http.rps": 60.0}, falling=["http.rps"], severity=Severity.INFO)
"""Fewer requests than the objective asks for: worth knowing, and nobody's trouble."""


def test_what_is_worth_knowing_alone_opens_nothing_and_dates_nothing() -> None:
    """The rate was below its objective for half an hour; the incident begins where it fell much further."""
    story, stage = Story().healthy(40).troubled(30, {"duri_core": BELOW}), make_stage()
    assert stage.step(story.take()) == []
    fallen = Fault({**SLOW, "http.rps": 5.0}, rising=["http.latency.p95"], falling=["http.rps"])
    [incident, *_] = of(stage.step(story.troubled(3, {"duri_core": fallen}).take()), Topic.INCIDENTS)
    assert incident["opened_at"] == at(70.5).isoformat().replace("+00:00", "Z")


def test_what_is_worth_knowing_alone_keeps_no_incident_open() -> None:
    """The trouble is over, the rate is below its objective as before."""
    story, stage = Story().healthy(40), make_stage()
    fallen = Fault({**SLOW, "http.rps": 5.0}, rising=["http.latency.p95"], falling=["http.rps"])
    outputs = stage.step(story.troubled(5, {"duri_core": fallen}).troubled(30, {"duri_core": BELOW}).take())
    assert of(outputs, Topic.INCIDENTS)[-1]["state"] == "closed"


def test_what_is_worth_knowing_beside_an_incident_is_named_apart() -> None:
    """With those of its services alone; what becomes a warning later is the incident's own."""
    story, stage = Story(("duri_core", "mail")).healthy(40), make_stage()
    heap, disk = content_id("duri_core", "container.memory.bytes"), content_id("duri_core", "node.disk.utilisation")
    info = ["container.memory.bytes", "node.disk.utilisation"]
    beside = {"duri_core": Fault(SLOW, rising=["http.latency.p95"], aside=info), "mail": Fault(aside=["http.rps"])}
    [*_, incident] = of(stage.step(story.troubled(3, beside).take()), Topic.INCIDENTS)
    assert incident["worth_knowing"] == [heap, disk]
    assert incident["anomalies"] == [content_id("duri_core", "http.latency.p95")]
    graver = Fault(SLOW, rising=["http.latency.p95", "node.disk.utilisation"], aside=["container.memory.bytes"])
    over = Fault(aside=["container.memory.bytes"])
    story.troubled(3, {"duri_core": graver}).troubled(30, {"duri_core": over})
    [*_, incident] = of(stage.step(story.take()), Topic.INCIDENTS)
    assert incident["state"] == "closed"
    assert incident["last_at"] == at(46).isoformat().replace("+00:00", "Z")
    assert incident["worth_knowing"] == [heap]
    assert disk in incident["anomalies"]
