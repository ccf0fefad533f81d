"""Signals judged together in the detect stage: the record, the frames, switching it off, snapshots without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models import slots
from pipeline.configfile import shipped_config
from pipeline.detect.detectors.learned import LearnedSignals
from pipeline.detect.detectors.together import SignalsTogether
from pipeline.errors import SettingsError
from pipeline.records import Anomaly, Detector, Frame, Severity
from pipeline.settings import load_settings
from pipeline.signals.definitions import load_definitions
from pipeline.stage import Topic
from tests.builders import START, Row, series
from tests.detect.drive import FRAME_MS, SIGNALS, configuration, detect_stage, log, records, written

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.detect.frame import ClosedFrame, Flag
    from pipeline.stage import LogRecord, Output

SOON = {"multivariate": {"warmup_s": 7200.0}}
NAMES = ["http.latency.p95", "http.rps", "container.cpu.utilisation", "app.pool.utilisation"]


def judged(frames: int, odd: range, shift: float) -> list[list[Flag]]:
    """What fires in each frame of one service whose four signals are all off by `shift` deviations in `odd`."""
    from pipeline.detect.frame import ClosedFrame as Closed  # noqa: PLC0415  made here only

    definitions = load_definitions(shipped_config())
    ours = configuration(**SOON)
    learned = LearnedSignals(list(definitions.signals.values()), ours.bank)
    assert ours.multivariate is not None
    together = SignalsTogether(definitions.signals, learned, ours.multivariate)
    learned.grow(1)
    together.grow(1)
    rng = np.random.default_rng(0)
    columns = [SIGNALS.index(name) for name in NAMES]
    flags = []
    for number in range(frames):
        values = np.full((1, len(SIGNALS)), np.nan)
        noise = rng.normal(size=4) + (shift if number in odd else 0.0)
        values[0, columns] = np.array([0.3, 100.0, 0.5, 0.4]) + noise * np.array([0.03, 10.0, 0.05, 0.04])
        frame: ClosedFrame = Closed(
            start=START + number * FRAME_MS,
            end=START + (number + 1) * FRAME_MS,
            values=values,
            reported=~np.isnan(values),
            alive=np.array([True]),
            sampled=np.array([True]),
        )
        list(learned.judge(frame))
        flags.append(list(together.judge(frame)))
    return flags


def test_signals_that_are_off_together_are_flagged_and_named() -> None:
    """Four signals, each off by two and a half deviations: a warning that names those that hurt, with their shares."""
    flags = judged(600, range(560, 580), 2.5)
    assert not any(flags[:560])
    found = [flag for fired in flags[560:580] for flag in fired]
    assert found
    assert {flag.detector for flag in found} == {Detector.MULTIVARIATE}
    assert {flag.severity for flag in found} == {Severity.WARNING}
    assert {one.signal for flag in found for one in flag.contributors} <= set(NAMES)
    assert all(0.1 <= one.share <= 1.0 for flag in found for one in flag.contributors)
    assert all(0.5 <= flag.score <= 1.0 for flag in found[:1])


def scrapes(minutes: int, odd: range) -> list[LogRecord]:
    """A service of three gauges, each within its usual range except for `odd` minutes, when all are off together."""
    rng = np.random.default_rng(1)
    rows: list[list[Row]] = []
    for minute in range(minutes):
        at = START + minute * FRAME_MS + 1000
        off = 6.0 if minute in odd else 0.0
        noise = rng.normal(size=3) + np.array([off, off, -off])
        values = {
            "container_memory_usage_bytes": 5e8 + 4e7 * noise[0],
            "db_pool_size": 30.0,
            "db_pool_checked_out": 9.0 + noise[1],
            "pg_stat_database_numbackends": 60.0 + 5.0 * noise[2],
        }
        rows.append([(series(name), at, value) for name, value in values.items()])
    return log(rows)


def run(history: list[LogRecord], **settings: object) -> list[Output]:
    return list(detect_stage(**settings).step(history))


def test_the_anomaly_and_the_frames_say_so() -> None:
    """One record of `signals`, with contributions; frames carry the score and the open anomaly's shares."""
    outputs = run(scrapes(400, range(350, 370)), **SOON)
    found = [a for a in records(outputs, Topic.ANOMALIES) if a["detectors"][0]["detector"] == "multivariate"]
    assert [a["state"] for a in found][:1] == ["opened"]
    opened = Anomaly.model_validate(found[0])
    assert opened.signal == "signals"
    assert opened.contributions
    frames = [Frame.model_validate(frame) for frame in records(outputs, Topic.FRAMES)]
    assert all(frame.together is not None for frame in frames)
    assert max(frame.together or 0.0 for frame in frames[100:340]) < 0.5
    named = [one for frame in frames for one in frame.anomalies if one.signal == "signals"]
    assert named
    assert all(one.contributions for one in named)


def test_switched_off_nothing_of_it_is_written() -> None:
    """All other records keep their bytes, and frames have no further field."""
    history = scrapes(400, range(350, 370))
    on, off = run(history, **SOON), run(history, multivariate={"enabled": False})
    assert not any(b"multivariate" in output.value or b"together" in output.value for output in off)

    def others(outputs: list[Output]) -> list[tuple[object, ...]]:
        return [one for one in written(outputs) if one[0] is Topic.ANOMALIES and b'"multivariate"' not in bytes(one[1])]

    assert others(on) == others(off)


@pytest.mark.parametrize("river", [None, "anomaly.LODA", "anomaly.HalfSpaceTrees"])
def test_a_replay_gives_the_same_bytes(river: str | None) -> None:
    """Cut and restored anywhere, with any scorer."""
    settings = {"multivariate": {"warmup_s": 3600.0, "river": river}}
    history = scrapes(320, range(290, 310))
    whole = written(run(history, **settings))
    stage = detect_stage(**settings)
    head = stage.step(history[:280])
    resumed = detect_stage(**settings)
    resumed.restore(stage.snapshot())
    assert written([*head, *resumed.step(history[280:])]) == whole


@pytest.mark.parametrize("changed", [{"enabled": False}, {"river": "anomaly.LODA"}])
def test_state_of_another_choice_starts_anew(changed: dict[str, object]) -> None:
    """A snapshot taken without it, or with another detector, is taken over: the rest goes on, this begins again."""
    history = scrapes(200, range(0))
    before = detect_stage(multivariate=changed)
    before.step(history[:150])
    stage = detect_stage(**SOON)
    stage.restore(before.snapshot())
    assert records(stage.step(history[150:]), Topic.FRAMES)


def test_a_detector_that_does_not_exist_is_refused_with_its_place(tmp_path: Path) -> None:
    """File, line and the nearest name."""
    path = tmp_path / "duri.yaml"
    path.write_text("detect:\n  multivariate:\n    river: anomaly.HalfSpaceTree\n")
    with pytest.raises(SettingsError, match=r"(?s)duri.yaml:\d.*did you mean anomaly.HalfSpaceTrees"):
        load_settings(path)


def test_it_can_be_switched_off_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every setting."""
    monkeypatch.setenv("DURI_DETECT__MULTIVARIATE__ENABLED", "false")
    assert not load_settings().detect.multivariate.enabled


def passing(frames: int) -> list[LogRecord]:
    """Services that come and go beside one that stays: two a frame with five gauges each, later one with one."""
    rng = np.random.default_rng(2)
    rows: list[list[Row]] = []
    for number in range(frames):
        at = START + number * FRAME_MS + 1000
        crowd = (2, 5) if number < 40 else (1, 1)
        passing_by = [(f"svc{number}-{i}", f"gauge_{j}") for i in range(crowd[0]) for j in range(crowd[1])]
        names = [("stays", "queue_depth"), *passing_by]
        rows.append([(series(name, service), at, float(rng.normal(50.0, 2.0))) for service, name in names])
    return log(rows)


def test_moving_rows_together_changes_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every eviction followed by compaction, or none: the same bytes, and rows of those that are there only."""
    history = passing(90)
    settings = {"series_idle_s": 600.0}
    monkeypatch.setattr(slots, "_FEW", 10**9)
    never = detect_stage(**settings)
    plain = written(never.step(history))
    monkeypatch.setattr(slots, "_FEW", 10)
    often = detect_stage(**settings)
    halves = [*often.step(history[:45])]
    resumed = detect_stage(**settings)
    resumed.restore(often.snapshot())
    halves += resumed.step(history[45:])
    assert written(halves) == plain

    def rows_of(stage: object) -> int:
        state = stage.snapshot()  # type: ignore[attr-defined]
        return len(state["watched.bank.profile"])

    assert rows_of(resumed) < rows_of(never)
