"""What a live trained model costs detect: 1,000 services of the demo's kind, frames of 60 s, four scrapes each.

Stages take the same records in turn, one without a model, one with an isolation forest, one with principal components,
one with a band, one with a ranker, one with priors (as the shipped recipes make them, over every signal the services
have). Figures are CPU seconds over those without a model, once features are warm, and of a frame alone. The band's
features are given a day of their own beforehand, in its snapshot; what is measured has two of its slots. In each
measured frame the gauges of TROUBLED other services are lifted (one a minute among 1,000: 1.4 times a day each), so
that the ranker has anomalies to rank; how many opened is told, and what each cost. The ranker is measured again at a
busy time: MANY_TROUBLED others in each frame. What priors cost while all series
are new is measured apart, over the frames in which they begin warm, as microseconds for each of them.
"""

from __future__ import annotations

import json
import time
from collections import Counter

import numpy as np

from benchmarks.harness import report
from benchmarks.trained import model, promoted
from models.offline.band_features import BandFeatures
from models.offline.features import WARMUP
from pipeline.batch import ARRIVAL_HEADER, ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.configfile import shipped_config
from pipeline.detect.configuration import load_detection
from pipeline.detect.stage import DetectStage
from pipeline.runtime.memory import collect_seldom
from pipeline.series import SERVICE_LABEL, Kind, Series
from pipeline.settings import DetectSettings
from pipeline.sources.duri_system import DuriSystem, Plan
from pipeline.stage import LogRecord, Topic

SERVICES = 1_000
MEASURED_FRAMES = 20
FIRST_MEASURED = 70
"""Where a slot of the band begins: two of them are measured, with what it costs to begin them."""
FIRST_BUSY = FIRST_MEASURED + MEASURED_FRAMES
BUSY = range(FIRST_BUSY, FIRST_BUSY + MEASURED_FRAMES)
SCRAPES_A_FRAME = 4
BEGINNING = range(3, 20)
"""Frames in which series that are new reach the samples after which priors let them begin."""
TROUBLED, MANY_TROUBLED = 1, 5
LIFTED = 4.0
ROWS = 20_000
START = 1_767_225_600_000
SOURCE = "duri.metrics/0"


def scrape(series: list[Series], identities: np.ndarray, values: np.ndarray, at: int) -> list[LogRecord]:
    """All series once, at this time (ms)."""
    labels = [one.canonical() for one in series]
    headers = [
        ("content-type", ARROW_CONTENT_TYPE.encode()),
        (SOURCE_HEADER, SOURCE.encode()),
        (ARRIVAL_HEADER, str(at).encode()),
    ]
    found = []
    for begin in range(0, len(series), ROWS):
        rows = slice(begin, min(begin + ROWS, len(series)))
        batch = make_batch(identities[rows], np.full(rows.stop - begin, at), values[rows], labels[rows])
        found.append(LogRecord("duri.samples", 0, 0, at, None, encode_batch(batch), headers))
    return found


class Services:
    """SERVICES copies of the demo's first service, and what they say in a scrape."""

    def __init__(self) -> None:
        [self.block, *_] = DuriSystem(Plan(days=1, step_s=15, faults=())).services
        self.series = [
            Series(name=one.name, labels=one.labels | {SERVICE_LABEL: f"service-{copy}"}, kind=one.kind, unit=one.unit)
            for copy in range(SERVICES)
            for one in self.block.series
        ]
        self._identities = np.array([one.identity() for one in self.series], dtype=np.uint64)
        self._gauges = np.array([one.kind is Kind.GAUGE for one in self.block.series])

    def scrape(self, frame: int, part: int, troubled: slice) -> list[LogRecord]:
        """A scrape of this frame; gauges of the troubled services are lifted."""
        values = np.tile(self.block.value[frame * SCRAPES_A_FRAME + part], (SERVICES, 1))
        values[troubled, self._gauges] *= LIFTED
        return scrape(self.series, self._identities, values.ravel(), START + frame * 60_000 + part * 15_000)


class Spent:
    """CPU seconds of each stage over some frames, and the anomalies that opened before the ranker in them."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.opened: set[str] = set()

    def step(self, name: str, stage: DetectStage, records: list[LogRecord]) -> None:
        """Let the stage take these records."""
        began = time.process_time()
        outputs = stage.step(records)
        self.seconds[name] += time.process_time() - began
        if name == "ranker":
            self.opened |= {json.loads(one.value)["id"] for one in outputs if one.topic is Topic.ANOMALIES}

    def over_none(self, name: str) -> float:
        """CPU seconds beyond those of the stage without a model."""
        return self.seconds[name] - self.seconds["none"]

    def percent(self, name: str) -> float:
        """The same in per cent of them."""
        return round(100 * self.over_none(name) / self.seconds["none"], 1)


def drive(services: Services, stages: dict[str, DetectStage], frames: range, troubled: int = 0) -> Spent:
    """Frames of four scrapes where services are in trouble, so many others in each frame; else of one, to warm up."""
    spent = Spent()
    for number in frames:
        first = (number - FIRST_MEASURED) * troubled
        for part in range(SCRAPES_A_FRAME if troubled else 1):
            records = services.scrape(number, part, slice(first, first + troubled))
            for name in list(stages)[:: 1 if number % 2 else -1]:
                spent.step(name, stages[name], records)
    return spent


def main() -> None:
    """Warm up with a scrape a frame, then measure with four."""
    collect_seldom()
    services = Services()
    configuration = load_detection(shipped_config(), DetectSettings(), partitions=1)
    names = ("none", "forest", "pca", "band", "ranker", "priors")
    stages = {
        name: DetectStage(configuration, input_topic="duri.samples", partition=0, sources=[SOURCE]) for name in names
    }
    drive(services, stages, range(2))
    signals = present(stages["none"])
    for name in names[1:]:
        stages[name].step(promoted(model(name, sorted(signals))))
    drive(services, stages, range(2, BEGINNING.start))
    beginning = drive(services, stages, BEGINNING)
    drive(services, stages, range(BEGINNING.stop, WARMUP + 3))
    warm_band(stages["band"], START + (WARMUP + 3) * 60_000)
    for name in set(names) - {"band"}:  # what was restored lies otherwise in memory: it is to be the same for all
        stages[name].restore(stages[name].snapshot())
    drive(services, stages, range(WARMUP + 3, FIRST_MEASURED))
    spent = drive(services, stages, range(FIRST_MEASURED, FIRST_BUSY), TROUBLED)
    busy = drive(services, {name: stages[name] for name in ("none", "ranker")}, BUSY, MANY_TROUBLED)
    scored = sum(v for k, v in stages["forest"].statistics().items() if k.startswith("trained_scores_total"))
    started = int(stages["priors"].statistics()["warm_starts_total"])
    report(
        "trained",
        {
            "services": SERVICES,
            "series": len(services.series),
            "signals": len(signals),
            "scores": scored,
            "started_warm": started,
            "none_ms_a_frame": round(1000 * spent.seconds["none"] / MEASURED_FRAMES, 1),
            **{f"{n}_ms_a_frame": round(1000 * spent.over_none(n) / MEASURED_FRAMES, 1) for n in names[1:]},
            **{f"{n}_over_none_percent": spent.percent(n) for n in names[1:]},
            **ranked(spent),
            **{f"busy_{name}": figure for name, figure in ranked(busy).items()},
            "busy_ranker_over_none_percent": busy.percent("ranker"),
            "priors_us_a_start": round(1e6 * beginning.over_none("priors") / max(started, 1), 1),
        },
    )


def ranked(spent: Spent) -> dict[str, float]:
    """What the ranker had to do, and what that took."""
    return {
        "anomalies_ranked_a_frame": round(len(spent.opened) / MEASURED_FRAMES, 1),
        "ranker_ms_an_anomaly": round(1000 * spent.over_none("ranker") / max(len(spent.opened), 1), 2),
    }


def warm_band(stage: DetectStage, now: int) -> None:
    """Let the band's features have seen the day before now (ms), around what they have seen of these services."""
    state = dict(stage.snapshot())
    [mean] = [name for name in state if name.startswith("closer.trained.bands") and name.endswith("|mean")]
    prefix, usual = mean.removesuffix("mean"), state[mean]
    features, rng = BandFeatures(*usual.shape), np.random.default_rng(0)
    for at in range(now - 1450 * 60_000, now, 60_000):
        features.advance(usual * (1 + 0.1 * rng.standard_normal(usual.shape)), at, 60_000)
    state.update({f"{prefix}{name}": part for name, part in features.snapshot().items()})
    stage.restore(state)


def present(stage: DetectStage) -> set[str]:
    """Signals that the services have, as the next frame shows."""
    tick = stage.tick(stage.until_frame_closes())
    twin = DetectStage(
        load_detection(shipped_config(), DetectSettings(), partitions=1),
        input_topic="duri.samples",
        partition=0,
        sources=[SOURCE],
    )
    twin.restore(stage.snapshot())
    outputs = twin.step([LogRecord("duri.samples", 0, 0, 0, None, one.value, one.headers) for one in tick])
    for output in outputs:
        if output.topic is Topic.FRAMES:
            found = json.loads(output.value).get("signals")
            if found:
                return set(found)
    raise SystemExit("no frame closed")


if __name__ == "__main__":
    main()
