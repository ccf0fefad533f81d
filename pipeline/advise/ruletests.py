"""A rule's own test, written next to it: frames in, recommendation out.

A test starts from the `healthy` values of the vocabulary for forty intervals; then its own values, settings and open
anomalies hold for `minutes`. The whole stage runs over it, with all rules: so a test also shows that no other rule
takes the first place.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from pipeline.advise.incidents.topology import Topology
from pipeline.advise.rules.expressions import Evaluator
from pipeline.advise.stage import AdviseStage
from pipeline.records import ChangeEvent, Direction, Frame, Recommendation, Severity, Watermark, content_id, to_ms
from pipeline.settings import AdviseSettings
from pipeline.stage import LogRecord, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.advise.rules.catalogue import Catalogue, CompiledRule
    from pipeline.advise.rules.rule import Rule, RuleTest
    from pipeline.records import Record
    from pipeline.stage import InputRecord

SERVICE: Final = "service"
FRAME_S: Final = 60.0
_HEALTHY: Final = 40
_START: Final = datetime(2026, 3, 2, tzinfo=UTC)
_encoder = msgspec.json.Encoder()


class Failure(NamedTuple):
    """A test that did not come out as it says."""

    rule: str
    number: int
    """Place of the test in the rule's list."""
    text: str


def run_tests(catalogue: Catalogue, only: Iterable[str] | None = None) -> tuple[int, list[Failure]]:
    """Run the rules' own tests; how many there were, and those that failed."""
    count, failures = 0, []
    wanted = None if only is None else set(only)
    for entry in catalogue.rules:
        if wanted is not None and entry.rule.id not in wanted:
            continue
        for index, test in enumerate(entry.rule.tests):
            count += 1
            text = judge(entry.rule, test, recommend(catalogue, records_of(test, catalogue)))
            text = text or judge_stop(entry, test, catalogue)
            if text:
                failures.append(Failure(entry.rule.id, index, f"test {test.name!r}: {text}"))
    return count, failures


def judge(rule: Rule, test: RuleTest, found: list[Recommendation]) -> str:
    """What is wrong with these recommendations, first choice first; nothing where they are as expected."""
    names = [record.provenance.rule for record in found]
    told = ", ".join(names) or "none"
    if test.expect == "absent":
        return f"it is proposed, and should not be (proposed: {told})" if rule.id in names else ""
    if rule.id not in names:
        return f"it is not proposed (proposed: {told})"
    if test.expect == "first" and names[0] != rule.id:
        return f"it is not the first choice (proposed: {told})"
    record = found[names.index(rule.id)]
    if test.recommended is not None and record.change.recommended != test.recommended:
        return f"it recommends {record.change.recommended!r}, and should {test.recommended!r}"
    if test.verified_by is not None and record.verification.signal != test.verified_by:
        return f"it is verified by {record.verification.signal}, and should be by {test.verified_by}"
    return ""


def judge_stop(entry: CompiledRule, test: RuleTest, catalogue: Catalogue) -> str:
    """What is wrong with the rule's reason to abort: it holds once the change has done what the test says, not before.

    Nothing where it is right, or where the test does not ask.
    """
    if not test.stopped_by:
        return ""
    if entry.abort_if is None:
        return "it has no abort_if"
    last = dict(catalogue.healthy) | {name: ramp.at(test.minutes - 1) for name, ramp in test.ramps()}
    trouble = {name: value for name, value in last.items() if name not in test.without}
    evaluator = Evaluator()
    for told, signals, stops in (("in the trouble", trouble, False), ("then", {**trouble, **test.stopped_by}, True)):
        evaluator.load({"signals": signals, "usual": catalogue.healthy, "before": trouble})
        if evaluator.holds(entry.abort_if) is not stops:
            return f"its abort_if {'does not hold' if stops else 'holds'} {told}, and should{'' if stops else ' not'}"
    return ""


def recommend(
    catalogue: Catalogue,
    log: Iterable[InputRecord],
    *,
    topology: Topology | None = None,
    frame_s: float = FRAME_S,
) -> list[Recommendation]:
    """The newest state of each recommendation that the stage makes of a log of `duri.frames`, by service and rank."""
    stage = AdviseStage(
        AdviseSettings(), catalogue, topology or Topology(), frame_s=frame_s, input_topic="duri.frames", partition=0
    )
    newest: dict[str, Recommendation] = {}
    for output in stage.step(list(log)):
        if output.topic is Topic.RECOMMENDATIONS:
            record = Recommendation.model_validate(json.loads(output.value))
            newest[record.id] = record
    return sorted(newest.values(), key=lambda record: (record.target.service, record.rank, record.id))


def records_of(test: RuleTest, catalogue: Catalogue) -> list[InputRecord]:
    """The log that a test describes."""
    log: list[InputRecord] = []
    for minute in range(_HEALTHY + test.minutes):
        if minute == _HEALTHY and test.change is not None:
            log.append(_record(_change(test.change)))
        log += _minute(test, catalogue, minute)
    return log


def _minute(test: RuleTest, catalogue: Catalogue, minute: int) -> Iterator[InputRecord]:
    trouble = minute >= _HEALTHY
    values = dict(catalogue.healthy)
    if trouble:
        values |= {name: value.at(minute - _HEALTHY) for name, value in test.ramps()}
    settings = {name: entry.default for name, entry in catalogue.settings.items() if entry.default is not None}
    settings |= test.settings if trouble else {}
    frame = {
        "service": SERVICE,
        "start": _at(minute),
        "end": _at(minute + 1),
        "signals": {
            name: {"value": value, "expected": catalogue.healthy.get(name)}
            for name, value in values.items()
            if name not in test.without
        },
        "settings": {name: value for name, value in settings.items() if name not in test.without},
        "anomalies": list(_anomalies(test, values, catalogue.healthy)) if trouble else [],
        "source": {"topic": "duri.samples", "partition": 0, "offset": minute},
    }
    headers = [("ce_type", Frame.event_type().encode())]
    yield LogRecord("duri.frames", 0, 2 * minute, 0, None, _encoder.encode(frame), headers)
    yield _record(Watermark(source_partition=0, until=_at(minute + 1)))


def _anomalies(test: RuleTest, values: Mapping[str, float], healthy: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    moved = [(name, Direction.UP) for name in test.rising] + [(name, Direction.DOWN) for name in test.falling]
    for name, direction in moved:
        yield {
            "id": content_id(SERVICE, name),
            "signal": name,
            "severity": Severity.WARNING,
            "direction": direction,
            "score": 0.9,
            "detectors": ["learned"],
            "opened_at": _at(_HEALTHY + 0.5),
            "observed": values.get(name),
            "expected": healthy.get(name),
        }


def _change(kind: str) -> ChangeEvent:
    return ChangeEvent.model_validate(
        {
            "id": "change",
            "at": _at(_HEALTHY - 2),
            "service": SERVICE,
            "change": kind,
            "version": "2",
            "previous_version": "1",
            "summary": "something else",
        }
    )


def _record(record: Record) -> LogRecord:
    headers = [("ce_type", record.event_type().encode())]
    return LogRecord("duri.frames", 0, 0, to_ms(_START), None, record.model_dump_json().encode(), headers)


def _at(minute: float) -> datetime:
    return _START + timedelta(minutes=minute)
