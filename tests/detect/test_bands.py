"""A trained band in detect: the bands of its frames, what it flags, in the shadow and over restarts."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from models.offline.bands import of_cube
from models.offline.scoring import predicted
from pipeline.records import Anomaly, Frame
from pipeline.registry.artefact import load
from pipeline.stage import Topic
from tests.builders import START, cut
from tests.detect.drive import FRAME_MS, Service, detect_stage, log, records, written
from tests.detect.test_trained import NAME, frames, frozen, kinds, move, numbered, pieces, run, told, version
from tests.registry.trained import SIGNALS, band, scrambled_band

if TYPE_CHECKING:
    from pipeline.detect.stage import DetectStage
    from pipeline.registry.manifest import ModelManifest
    from pipeline.stage import LogRecord

DAY = 1440
model = cache(band)


def minutely(service: Service, hours: float, rps: float = 100.0, memory: float = 0.5) -> list[LogRecord]:
    """A scrape a minute, with a little noise, always the same."""
    scrapes = []
    for minute in range(round(hours * 60)):
        noise = 1 + 0.05 * math.sin(minute * 1.7) + 0.03 * math.sin(minute * 0.37)
        scrapes += list(service.rows(60, rps=rps * noise, memory=memory * noise))[:1]
    return log(scrapes)


@cache
def history() -> list[LogRecord]:
    """A band in the shadow for a day and two hours, then live while another is in the shadow; trouble; then none."""
    service, first, second = Service(), model(), model(2)
    return numbered(
        [
            [*pieces(first), told(move(1, shadow=first, action="shadow"))],
            minutely(service, 26),
            [*pieces(first), *pieces(second), told(move(2, live=first, shadow=second))],
            minutely(service, 0.5),
            minutely(service, 0.2, rps=5000.0, memory=0.9),
            minutely(service, 0.5),
            [told(move(3, shadow=second, action="revert"))],
            minutely(service, 0.1),
        ]
    )


@cache
def at_once() -> tuple[list[Any], DetectStage]:
    return run(history())


def test_versions_switch_at_the_offset_of_their_move() -> None:
    """Frames behind the move have its score and a band for every signal that has a value; it began warm."""
    outputs, _ = at_once()
    offsets = [one.offset for one in history() if dict(one.headers).get("ce_type") == b"duri.model_move.v1"]
    assert [(one["offset"], one["accepted"]) for one in kinds(outputs, "accepted")] == [(at, True) for at in offsets]
    for one in frames(outputs):
        live = offsets[1] < one["source"]["offset"] < offsets[2]
        assert set(one.get("trained", {})) == ({NAME} if live else set())
        if live:
            said = one["trained"][NAME]
            assert said["version"] == version(model())
            assert set(said["band"]) == set(SIGNALS)
            assert all(lower <= middle <= upper for lower, middle, upper in said["band"].values())


def test_live_scores_and_bands_are_those_of_the_evaluation() -> None:
    """The frames as a dataset would have them, through what evaluates: the same numbers, to the bit."""
    outputs, _ = at_once()
    manifest, data = model()
    found = frames(outputs)
    cube = np.array([[[one["signals"].get(name, {}).get("value") for name in SIGNALS]] for one in found], dtype=float)
    start = START + np.arange(len(found)) * FRAME_MS
    raw = of_cube([load(data, manifest, "test")], cube, start, FRAME_MS, slice(0, len(found)))[:, 0, 0]
    assert np.isnan(raw[:DAY]).all()
    live = {at: one["trained"][NAME]["score"] for at, one in enumerate(found) if one.get("trained")}
    assert len(live) > 60
    assert [float(expit(raw[at] - manifest.threshold)) for at in live] == list(live.values())


def test_what_lies_beyond_is_flagged_with_its_band() -> None:
    """The anomaly names the version, and the signals with what was expected of them; the shadow raises nothing."""
    fired = [
        one
        for one in records(at_once()[0], Topic.ANOMALIES)
        if any(firing["detector"] == "trained" for firing in one["detectors"])
    ]
    assert fired
    rules = {firing["rule"] for one in fired for firing in one["detectors"] if firing["detector"] == "trained"}
    assert rules == {f"{NAME} {version(model())}"}
    [named] = [one for one in fired[0]["contributions"] if one["signal"] == "http.rps"]
    assert named["lower"] <= named["expected"] <= named["upper"] < named["observed"]


def test_records_with_bands_are_what_the_schema_says() -> None:
    """Frames and anomalies, read and written by their records: the same again."""
    outputs, _ = at_once()
    banded = [one for one in frames(outputs) if one.get("trained")]
    assert [json.loads(Frame.model_validate(one).model_dump_json()) for one in banded[:3]] == banded[:3]
    said = [one for one in records(outputs, Topic.ANOMALIES) if "lower" in str(one.get("contributions"))]
    assert said
    assert [json.loads(Anomaly.model_validate(one).model_dump_json()) for one in said] == said


def test_the_shadow_is_told_of() -> None:
    """A day of warming up is not scored; beside the live one they agree."""
    tallies = kinds(at_once()[0], "service_days")
    first, second = ([one for one in tallies if one["shadow"] == version(band(seed))] for seed in (1, 2))
    assert first[-1]["hours"] == pytest.approx(2.0, abs=0.1)
    assert second[-1]["live"] == version(model())


def test_a_band_predicts_for_its_kind_of_service_alone() -> None:
    """A prediction costs by the row: those of other kinds are not asked for, and their frames tell of no band."""
    one = band(1, services="cart.*")
    asked: list[int] = []

    def counted(estimator: object, rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return predicted(estimator, rows)

    services = [Service("cart"), Service("shop")]
    scraped = [minutely(service, 24.5) for service in services]
    together = [record for minute in zip(*scraped, strict=True) for record in minute]
    history = numbered([[*pieces(one), told(move(1, live=one))], together])
    with patch("models.offline.bands.predicted", counted):
        outputs, _ = run(history)
    judged = {found["service"] for found in frames(outputs) if found.get("trained")}
    assert judged == {"cart"}
    [_, *while_it_ran] = asked  # the first are the reference rows, before it is seated
    assert max(while_it_ran) == len(SIGNALS)


@settings(max_examples=2, deadline=None)
@given(st.lists(st.integers(1400, 1650), max_size=2))
def test_replays_switch_at_the_same_offset(places: list[int]) -> None:
    """Wherever polls end and a snapshot is restored, within a slot too: the same bytes."""
    outputs, whole = at_once()
    stage, again = detect_stage(), []
    for part in cut(history(), places):
        after = detect_stage()
        after.restore(stage.snapshot())
        again += written(after.step(part))
        stage = after
    assert again == written(outputs)
    assert frozen(stage) == frozen(whole)


def refusals() -> list[tuple[tuple[ModelManifest, bytes], str]]:
    manifest, data = model(7)
    later = manifest.features.model_copy(update={"version": 99})
    unknown = manifest.features.model_copy(update={"names": SIGNALS})
    return [
        ((manifest, data[:-1] + b"!"), "its SHA-256 is not the manifest's: altered"),
        (scrambled_band(7), "reference rows otherwise than in training"),
        (band(7, features=later), "expects features of version 99"),
        (band(7, features=unknown, reference=None), "not those that this program makes"),
    ]


@pytest.mark.parametrize(("bad", "reason"), refusals(), ids=["altered", "order", "schema", "names"])
def test_a_band_that_cannot_run_is_refused(bad: tuple[ModelManifest, bytes], reason: str) -> None:
    """The answer says why, and the version before goes on."""
    stage = detect_stage()
    stage.step(numbered([pieces(model()), [told(move(1, live=model()))]]))
    [answer] = kinds(stage.step([*pieces(bad), told(move(2, live=bad))]), "accepted")
    assert not answer["accepted"]
    assert reason in answer["reason"]
    held = [name for name in stage.statistics() if name.startswith("trained_models")]
    assert held == [f'trained_models{{model="{NAME}",version="{version(model())}",seat="live"}}']


def test_a_snapshot_of_other_features_begins_cold() -> None:
    """What another program kept of its features says nothing here; the partition goes on."""
    before, after = detect_stage(), detect_stage()
    before.step(numbered([pieces(model()), [told(move(1, live=model()))], minutely(Service(), 0.2)]))
    kept = {name: part for name, part in before.snapshot().items() if not name.endswith("|hours_past")}
    assert len(kept) == len(before.snapshot()) - 1
    after.restore(kept)
    assert frames(after.step(numbered([minutely(Service(start=START + 12 * FRAME_MS), 0.2)])))
