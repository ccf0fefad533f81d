"""The service graph that span metrics teach."""

from __future__ import annotations

import json

from pipeline import records
from pipeline.advise.incidents.topology import Topology
from pipeline.offline.flow import LocalFlow
from pipeline.settings import AdviseSettings, load_settings
from pipeline.stage import Output, Topic
from tests.advise.helpers import SLOW, Fault, Story, at, make_stage, of

HOUR = 3_600_000


def test_learned_calls_stand_beside_the_files() -> None:
    """What is seen is added to what the file says; a copy knows the file alone."""
    graph = Topology({"a": ["b"]})
    graph.learn([("b", "c"), ("a", "b")], HOUR, 10)
    assert graph.callees("b") == ("c",)
    assert graph.component("a") == graph.component("c") is not None
    assert graph.copy().callees("b") == ()


def test_calls_that_are_no_longer_seen_are_forgotten() -> None:
    """Learned calls age; those of the file do not."""
    graph = Topology({"a": ["b"]})
    graph.learn([("b", "c"), ("a", "b")], HOUR, 10)
    graph.learn([("b", "d")], 2 * HOUR, 10)
    graph.forget(2 * HOUR)
    assert graph.callees("b") == ("d",)
    assert graph.callees("a") == ("b",)


def test_learned_calls_are_bounded() -> None:
    """Callers, and callees of one, beyond the limit are not taken in."""
    graph = Topology()
    graph.learn([(f"a{number}", "b") for number in range(9)], HOUR, 3)
    graph.learn([("a0", f"c{number}") for number in range(9)], HOUR, 3)
    assert sum(bool(graph.callees(f"a{number}")) for number in range(9)) == 3
    assert len(graph.callees("a0")) == 3


def test_restored_graph_is_the_same() -> None:
    """What was learned goes into a new graph."""
    graph, other = Topology({"a": ["b"]}), Topology({"a": ["b"]})
    graph.learn([("b", "c")], HOUR, 10)
    other.restore(graph.learned)
    assert other.callees("b") == ("c",)


class Shop(Story):
    """Two services that no file knows, and span metrics that say that one calls the other."""

    def calls(self) -> Shop:
        """A frame of the collector of spans, for the minute that follows."""
        self.put(
            records.Frame(
                service="tempo",
                start=self._at(self.minute),
                end=self._at(self.minute + 1),
                signals={},
                settings={},
                calls=[records.Calls(client="shop", server="mail", rps=5.0)],
                source=records.Provenance(topic="duri.samples", partition=0, offset=self.minute),
            )
        )
        return self


def test_cause_along_learned_calls() -> None:
    """A caller and a callee that are slow together are one incident with the callee as its cause; restarts keep it."""
    slow = {"shop": Fault(SLOW, rising=["http.latency.p95"]), "mail": Fault(SLOW, rising=["http.latency.p95"])}
    story = Shop(("shop", "mail"))
    story.calls().healthy(40)
    stage, fresh = make_stage(), make_stage(AdviseSettings())
    stage.step(story.take())
    fresh.restore(stage.snapshot())
    found = of(fresh.step(story.troubled(5, slow).take()), Topic.INCIDENTS)
    assert [record["services"] for record in found][-1] == ["mail", "shop"]
    assert found[-1]["cause"] == "mail"


def test_from_samples_to_frames() -> None:
    """A counter with client and server labels on `duri.metrics` comes out as calls in the frames."""
    flow = LocalFlow(load_settings())
    messages = [
        {
            "name": "traces_service_graph_request_total",
            "labels": {"job": "tempo", "client": "shop", "server": "mail"},
            "ts": records.to_ms(at(minute)),
            "value": minute * 120.0,
        }
        for minute in range(6)
    ]
    outputs = [
        output
        for message in messages
        for output in flow.publish([Output(Topic.METRICS, json.dumps(message).encode(), message["ts"])])
    ]
    frames = [json.loads(output.value) for output in outputs if output.topic is Topic.FRAMES]
    calls = [frame["calls"] for frame in frames if frame.get("calls")]
    assert calls[-1] == [{"client": "shop", "server": "mail", "rps": 2.0}]
