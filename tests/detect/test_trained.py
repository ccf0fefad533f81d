"""Trained models in detect: who runs from which offset on, what they score, what a shadow leaves behind."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from models.offline.features import WARMUP, of_cube
from models.offline.scoring import abnormality
from pipeline.records import ModelMove, cloudevent_headers, parse_part, to_ms
from pipeline.registry import package
from pipeline.registry.artefact import load
from pipeline.stage import LogRecord, Topic
from tests.builders import START, cut
from tests.detect.drive import FRAME_MS, Service, detect_stage, log, records, written
from tests.registry.trained import SIGNALS, detector, scrambled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.detect.stage import DetectStage
    from pipeline.registry.manifest import ModelManifest

NAME = "services"
SAID = datetime(2026, 1, 1, tzinfo=UTC)
Model = tuple["ModelManifest", bytes]


@cache
def model(seed: int = 1, threshold: float = 0.6) -> Model:
    return detector(seed, threshold)


def version(one: Model | None) -> str | None:
    return None if one is None else one[0].version


def pieces(one: Model) -> list[LogRecord]:
    """The model as it comes in the log."""
    return [
        LogRecord("duri.samples", 0, 0, START, None, part.content, part.headers())
        for part in package.parts(one[0].name, one[0].version, package.pack(*one))
    ]


def move(number: int, live: Model | None = None, shadow: Model | None = None, action: str = "promote") -> ModelMove:
    said = SAID + timedelta(seconds=number)
    return ModelMove(
        id=f"m{number}", at=said, model=NAME, number=number, action=action, live=version(live), shadow=version(shadow)
    )


def told(one: ModelMove) -> LogRecord:
    headers = cloudevent_headers(one.event_type(), "/control", one.id, to_ms(one.at))
    return LogRecord("duri.samples", 0, 0, to_ms(one.at), None, one.model_dump_json().encode(), headers)


def hour(service: Service, hours: float = 1.0, **levels: float) -> list[LogRecord]:
    """Scrapes with a little noise, always the same."""
    found: list[LogRecord] = []
    for minute in range(round(hours * 60)):
        noise = 1 + 0.05 * math.sin(minute * 1.7) + 0.03 * math.sin(minute * 0.37)
        found += log(service.rows(60, rps=levels.get("rps", 100.0) * noise, memory=levels.get("memory", 0.5 * noise)))
    return found


def numbered(parts: Sequence[Sequence[LogRecord]]) -> list[LogRecord]:
    """One log of all these, with offsets."""
    every = [record for part in parts for record in part]
    return [LogRecord(one.topic, 0, at, one.timestamp, one.key, one.value, one.headers) for at, one in enumerate(every)]


@cache
def switching() -> list[LogRecord]:
    """A model in the shadow for two hours, then live while another one is in the shadow, then none; trouble in it."""
    service = Service()
    first, second = model(), model(2)
    return numbered(
        [
            hour(service, 0.2),
            [*pieces(first), told(move(1, shadow=first, action="shadow"))],
            hour(service, 2.2),
            [*pieces(first), told(move(2, live=first))],
            hour(service, 0.3),
            [*pieces(second), told(move(3, live=first, shadow=second, action="shadow"))],
            hour(service, 0.3),
            hour(service, 0.1, rps=900.0, memory=0.9),
            hour(service, 0.5),
            [told(move(4, shadow=second, action="revert"))],
            hour(service, 0.2),
        ]
    )


def run(history: Sequence[LogRecord], stage: DetectStage | None = None) -> tuple[list[Any], DetectStage]:
    stage = stage or detect_stage()
    return stage.step(history), stage


def frames(outputs: Sequence[Any]) -> list[dict[str, Any]]:
    return [one for one in records(outputs, Topic.FRAMES) if "signals" in one]


def kinds(outputs: Sequence[Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in records(outputs, Topic.CONTROL) if kind in one]


def test_versions_switch_at_the_offset_of_their_move() -> None:
    """The frames that end behind the move carry the new version's score, those before the old one's, all of them once.

    A shadow writes no score, and its features are warm when it is promoted.
    """
    history = switching()
    outputs, _ = run(history)
    offsets = [one.offset for one in history if dict(one.headers).get("ce_type") == b"duri.model_move.v1"]
    assert [(one["offset"], one["accepted"]) for one in kinds(outputs, "accepted")] == [(at, True) for at in offsets]
    found = frames(outputs)
    assert len({one["start"] for one in found}) == len(found)
    for one in found:
        live = offsets[1] < one["source"]["offset"] < offsets[3]
        assert {name: score["version"] for name, score in one.get("trained", {}).items()} == (
            {NAME: version(model())} if live else {}
        )


def test_live_scores_are_those_of_the_training_code() -> None:
    """The frames as a dataset would have them, through features and estimator: the same numbers."""
    first = model()
    # From the first frame on, so that both have seen the same.
    history = numbered([pieces(first), [told(move(1, live=first))], hour(Service(), 3.0)])
    found = frames(run(history)[0])
    cube = np.array([[[one["signals"].get(name, {}).get("value") for name in SIGNALS]] for one in found], dtype=float)
    estimator = load(first[1], first[0], "test")
    raw = abnormality(estimator, of_cube(cube)[:, 0])
    live = [one.get("trained", {}).get(NAME, {}).get("score") for one in found]
    assert [score is None for score in live] == [bool(np.isnan(one)) for one in raw]
    assert sum(score is not None for score in live) == len(found) - WARMUP
    # The share is a function of the raw score that has its middle at the threshold.
    pairs = [(a, b) for a, b in zip(raw.tolist(), live, strict=True) if b is not None]
    spread = next((a - first[0].threshold) / math.log(b / (1 - b)) for a, b in pairs)
    assert np.allclose(expit((np.array([a for a, _ in pairs]) - first[0].threshold) / spread), [b for _, b in pairs])


def test_a_live_model_raises_and_a_shadow_does_not() -> None:
    """Trouble is named with the model's version and the signals that moved; in the shadow nothing of it is seen."""
    outputs, _ = run(switching())
    fired = [
        one
        for one in records(outputs, Topic.ANOMALIES)
        if any(firing["detector"] == "trained" for firing in one["detectors"])
    ]
    assert fired
    rules = {firing["rule"] for one in fired for firing in one["detectors"] if firing["detector"] == "trained"}
    assert rules == {f"{NAME} {version(model())}"}
    assert {one["signal"] for one in fired} == {"signals"}
    assert {"http.rps", "container.memory.bytes"} & {share["signal"] for share in fired[0]["contributions"]}


def test_learners_do_not_notice_models() -> None:
    """Values, expectations, bands and scores of every signal are those of a log without any move."""
    history = switching()
    plain = [one for one in history if b"duri.model" not in dict(one.headers).get("ce_type", b"")]
    one, other = frames(run(history)[0]), frames(run(plain)[0])
    assert [frame["signals"] for frame in one] == [frame["signals"] for frame in other]


def test_the_shadow_is_told_of_every_hour_and_at_its_end() -> None:
    """Event time scored, service-days, agreement with the live version."""
    outputs, _ = run(switching())
    tallies = kinds(outputs, "service_days")
    first, second = ([one for one in tallies if one["shadow"] == version(model(seed))] for seed in (1, 2))
    assert [one["live"] for one in first] == [None] * len(first)
    assert len(first) >= 2
    assert first[-1]["hours"] == pytest.approx(first[-1]["service_days"] * 24)
    assert first[-1]["hours"] == pytest.approx(2.2 - WARMUP / 60, abs=0.05)
    assert first[0]["correlation"] is None
    assert second[-1]["live"] == version(model())
    assert second[-1]["correlation"] > 0.3


def test_a_model_judges_the_services_it_is_for() -> None:
    """Two kinds of services, each with a model of its own that is live: a frame has the score of its kind's alone.

    Also after a restart, although no names of services are kept with the models.
    """
    kinds_of = {
        "carts": detector(1, name="carts", services="cart.*"),
        "shops": detector(2, name="shops", services="shop"),
    }
    moved = [
        [*pieces(one), told(move(1, live=one).model_copy(update={"model": name}))] for name, one in kinds_of.items()
    ]
    services = [Service("cart-1"), Service("shop"), Service("cartridge-2"), Service("workshop")]
    scraped = [log(service.rows(60)) for _ in range(80) for service in services]
    history, before = numbered([*moved, *scraped]), detect_stage()
    outputs, after = before.step(history[:1100]), detect_stage()
    after.restore(before.snapshot())
    found = frames([*outputs, *after.step(history[1100:])])
    scored = {(one["service"], *one["trained"]) for one in found if one.get("trained")}
    assert scored == {("cart-1", "carts"), ("cartridge-2", "carts"), ("shop", "shops")}
    assert any("trained" in one for one in frames(outputs))


def test_the_shadow_is_counted_anew_beside_another_live_version() -> None:
    """A revert changes what the one in the shadow is compared with: its end is told, and its hours begin again."""
    first, second, third = model(), model(2), model(3)
    service = Service()
    outputs, _ = run(
        numbered(
            [
                [*pieces(first), *pieces(second), told(move(1, live=first, shadow=second, action="shadow"))],
                hour(service, 3.2),
                [*pieces(third), told(move(2, live=third, shadow=second, action="revert"))],
                hour(service, 2.2),
            ]
        )
    )
    tallies = [one for one in kinds(outputs, "service_days") if one["shadow"] == version(second)]
    before, after = ([one for one in tallies if one["live"] == version(live)] for live in (first, third))
    assert before[-1]["hours"] == pytest.approx(3.2 - WARMUP / 60, abs=0.05)
    assert after[-1]["hours"] <= 2.2
    assert after[0]["since"] >= before[-1]["at"]


def test_how_far_the_shadow_agrees_is_a_metric() -> None:
    """Two agree about the trouble; one that never speaks does not, and how much others saw is told."""
    for shadow, share in ((model(2), 0.2), (model(2, threshold=0.99), 0.0)):
        first, service = model(), Service()
        move_in = told(move(1, live=first, shadow=shadow, action="shadow"))
        trouble = hour(service, 2.2), hour(service, 0.2, rps=900.0, memory=0.9), hour(service, 2.0)
        outputs, stage = run(numbered([[*pieces(first), *pieces(shadow), move_in], *trouble]))
        name = f'shadow_agreement{{model="{NAME}",partition="0"}}'
        tally = kinds(outputs, "service_days")[-1]
        assert stage.statistics()[name] >= share
        assert tally["live_episodes"] > 0
        assert tally["other_episodes"] > 0
    assert stage.statistics()[name] == 0.0
    assert tally["shadow_episodes"] == 0


@cache
def at_once() -> tuple[list[Any], dict[str, bytes]]:
    outputs, stage = run(switching())
    return written(outputs), frozen(stage)


def frozen(stage: DetectStage) -> dict[str, bytes]:
    return {name: part if isinstance(part, bytes) else part.tobytes() for name, part in stage.snapshot().items()}


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(0, 900), max_size=4))
def test_replays_switch_at_the_same_offset(places: list[int]) -> None:
    """Wherever polls end and a snapshot is restored, pieces of a model in hand or not: the same bytes."""
    outputs, state = at_once()
    stage = detect_stage()
    again = []
    for part in cut(switching(), places):
        after = detect_stage()
        after.restore(stage.snapshot())
        again += written(after.step(part))
        stage = after
    assert again == outputs
    assert frozen(stage) == state


def test_pieces_in_hand_survive_a_restart() -> None:
    """A snapshot between a model's pieces and its move."""
    first = model()
    before, after = detect_stage(), detect_stage()
    before.step(numbered([hour(Service(), 0.1), pieces(first)]))
    after.restore(before.snapshot())
    [answer] = kinds(after.step([told(move(1, live=first))]), "accepted")
    assert answer["accepted"]


def refusals() -> Iterator[tuple[str, list[LogRecord], str]]:
    """What comes with a move, and what is said of it."""
    other = detector(7)
    altered = (other[0], other[1][:-1] + b"!")
    strange = detector(7, features=other[0].features.model_copy(update={"version": 99}))
    unknown = detector(7, features=other[0].features.model_copy(update={"names": SIGNALS}), reference=None)
    # One of the pieces says that there are two.
    part = package.parts(NAME, version(other), b"half")[0]._replace(of=2)
    half = LogRecord("duri.samples", 0, 0, START, None, part.content, part.headers())
    yield "missing", [], "did not come along whole"
    yield "half", [half], "did not come along whole"
    yield "altered", pieces(altered), "its SHA-256 is not the manifest's: altered"
    yield "schema", pieces(strange), "expects features of version 99"
    yield "names", pieces(unknown), "not those that this program makes"
    yield "order", pieces(scrambled(7)), "reference rows otherwise than in training"


@pytest.mark.parametrize(("what", "came", "reason"), list(refusals()), ids=[one[0] for one in refusals()])
def test_a_model_that_cannot_run_is_refused(what: str, came: list[LogRecord], reason: str) -> None:
    """The answer says why, the metric counts it, and the version before goes on."""
    first = model()
    wanted = parse_subject(came) or version(detector(7))
    stage = detect_stage()
    stage.step(numbered([pieces(first), [told(move(1, live=first))], hour(Service(), 1.1)]))
    second = move(2).model_copy(update={"live": wanted})
    [answer] = kinds(stage.step([*came, told(second)]), "accepted")
    assert (answer["accepted"], answer["partition"]) == (False, 0), what
    assert reason in answer["reason"]
    assert stage.statistics()["models_refused_total"] == 1
    service = Service(start=START + 66 * FRAME_MS)
    scores = [one["trained"][NAME]["version"] for one in frames(stage.step(hour(service, 0.1)))]
    assert scores
    assert set(scores) == {version(first)}


def parse_subject(came: list[LogRecord]) -> str | None:
    if not came:
        return None
    headers = dict(came[0].headers)
    return parse_part(headers["ce_subject"], headers["duri_part"], b"").version


def test_an_older_move_that_comes_later_is_passed_over() -> None:
    """Two promotions at once, in the wrong order: the later one holds."""
    first, second = model(), model(2)
    stage = detect_stage()
    came = [*pieces(second), told(move(2, live=second)), *pieces(first), told(move(1, live=first))]
    answers = kinds(stage.step(numbered([came])), "accepted")
    assert [one["number"] for one in answers] == [2]
    held = [name for name in stage.statistics() if name.startswith("trained_models")]
    assert held == [f'trained_models{{model="{NAME}",version="{version(second)}",seat="live"}}']


def test_a_move_that_is_repeated_fills_what_is_missing() -> None:
    """A worker that starts is told again who runs: who knows it says nothing, who lost it takes it."""
    first = model()
    again = [*pieces(first), told(move(1, live=first))]
    knows, lost = detect_stage(), detect_stage()
    assert len(kinds(knows.step(numbered([again])), "accepted")) == 1
    assert kinds(knows.step(numbered([again])), "accepted") == []
    [answer] = kinds(lost.step([told(move(1, live=first))]), "accepted")
    assert not answer["accepted"]
    [answer] = kinds(lost.step(numbered([again])), "accepted")
    assert answer["accepted"]


def test_a_snapshot_of_other_features_begins_cold() -> None:
    """What an older program kept of its own features says nothing here; the partition goes on without it."""
    before, after = detect_stage(), detect_stage()
    before.step(numbered([pieces(model()), [told(move(1, live=model()))], hour(Service(), 0.2)]))
    state = before.snapshot()
    kept = {name: part for name, part in state.items() if not name.endswith(("|shared", "|driven"))}
    assert len(kept) == len(state) - 2
    after.restore(kept)
    service = Service(start=START + 12 * FRAME_MS)
    assert all("trained" not in one for one in frames(after.step(numbered([hour(service, 0.2)]))))


def test_a_snapshot_from_before_there_were_models() -> None:
    """Restored as it was, without any."""
    before, after = detect_stage(), detect_stage()
    before.step(numbered([hour(Service(), 0.1)]))
    after.restore({name: part for name, part in before.snapshot().items() if not name.startswith("closer.trained.")})
    assert frozen(after) == frozen(before)
