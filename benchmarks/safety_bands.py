"""Whether bad bands get past the gate, and good ones do: five deliberately bad, two good.

bad    one width for everything; no number for some rows; signals taken in another order than their names say; learned
       from a time in which all lay two deviations higher; and learned from shuffled values
good   the shipped recipe, on another half of the rows each

In the world of `benchmarks.safety` half of the trouble shows in several signals together only, which no band can see.
In this one there is what a band is for: eight signals of six services follow the day and the week, with normal noise of
2 to 6 per cent, and one to three of them take for 3 to 10 minutes the values of another hour, at least a quarter of the
wave away, TROUBLES times a day. (With heavy tails, Student's t of five degrees, a band whose threshold keeps to its
budget finds no more than the online learners do, and the gate refuses the good ones too, rightly.) Each candidate is
calibrated and judged by the code of `duri train`; the gate is asked as in `benchmarks.safety`, where nothing is live.

    python -m benchmarks.safety_bands SEED…      1 to 4 were used while this was developed
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.coupled import SIGNALS
from benchmarks.frames import MINUTE_MS, START, write_frames
from benchmarks.harness import report
from benchmarks.safety import BUDGET, SHADOW, manifest_of
from models.offline import band_features, stability
from pipeline.configfile import shipped_config
from pipeline.errors import DuriError
from pipeline.offline.dataset.labels import LabelledWindow
from pipeline.offline.dataset.reading import Dataset
from pipeline.offline.dataset.staging import Request
from pipeline.offline.dataset.writer import adding
from pipeline.offline.training.banded import Material, banded
from pipeline.offline.training.blocks import Blocks, Learners
from pipeline.offline.training.evaluating import NEW, Scorer
from pipeline.offline.training.fitting import calibrate, split_of
from pipeline.offline.training.recipe import load_recipe
from pipeline.offline.training.sought import Source, sought
from pipeline.offline.training.train_band import cells_of, fitted, rows_of
from pipeline.offline.training.worth import Terms, worth
from pipeline.registry import gate
from pipeline.registry.manifest import FeatureSchema, Reference
from pipeline.registry.reference import check_reference, reference_of
from pipeline.settings import ModelSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.offline.training.train_band import Rows

DAYS = 21
SERVICES = 6
TROUBLES = 3
NAMES = band_features.names_of(SIGNALS)
FEATURES = FeatureSchema(version=band_features.VERSION, names=NAMES)
_DAY = 1440
_WAVE = 0.4


class Candidate(NamedTuple):
    """A band to judge, the rows that it learned from, and what its training has kept of it."""

    kind: str
    estimator: Any
    rows: Rows
    reference: Reference


class Constant:
    """One end, whatever the row."""

    def __init__(self, end: float) -> None:
        self.end = end

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.full(len(rows), self.end)


class Leaky:
    """A good end that now and then gives no number."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def predict(self, rows: np.ndarray) -> np.ndarray:
        found = np.array(self.inner.predict(rows))
        found[::50] = np.nan
        return found


class Reordered:
    """A good end that takes a signal for its neighbour."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def predict(self, rows: np.ndarray) -> np.ndarray:
        other = rows.copy()
        at = band_features.NAMES.index("signal")
        other[:, at] = (other[:, at] + 1) % len(SIGNALS)
        return np.asarray(self.inner.predict(other))


class Ends:
    """Three of them as one estimator."""

    def __init__(self, estimators: list[Any]) -> None:
        self.estimators_ = estimators


def generate(folder: Path, seed: int) -> tuple[Dataset, list[LabelledWindow]]:
    """The world of this seed, its frames written into the folder, and its trouble."""
    rng, windows = np.random.default_rng(seed), []
    minutes = np.arange(DAYS * _DAY)
    with adding(folder, Request(source="csv")) as writer:
        for number in range(SERVICES):
            wave = np.sin(2 * np.pi * (minutes / _DAY + rng.random()))
            wave = _WAVE * wave * np.where(minutes // _DAY % 7 < 5, 1.0, 0.7)
            shape = 1 + wave[:, None] * rng.uniform(0.5, 1.0, len(SIGNALS))
            noise = rng.uniform(0.02, 0.06, len(SIGNALS)) * rng.standard_normal(shape.shape)
            service = f"service-{number}"
            for first in _DAY + np.arange((DAYS - 1) * TROUBLES) * (_DAY // TROUBLES) + 180:
                part = slice(first + int(rng.integers(0, 240)), 0)
                part = slice(part.start, part.start + int(rng.integers(3, 11)))
                far = np.flatnonzero(np.abs(wave - wave[part.start]) > _WAVE / 2)
                signals = rng.choice(len(SIGNALS), int(rng.integers(1, 4)), replace=False)
                shape[part, signals] = shape[rng.choice(far), signals]
                ends = (START + at * MINUTE_MS for at in (part.start, part.stop))
                windows.append(LabelledWindow(*ends, service, "", matters=True, source="another hour"))
            write_frames(writer, service, SIGNALS, shape * (1 + noise) * 10 ** rng.uniform(-1, 4, len(SIGNALS)))
        writer.checkpoint(complete=True)
        writer.publish()
    return Dataset(folder), windows


def candidates(rows: Rows, rng: np.random.Generator) -> Iterator[Candidate]:
    """All of them, the good ones first."""
    for _ in range(2):
        half = _picked(rows, np.sort(rng.permutation(len(rows.at))[: len(rows.at) // 2]))
        yield _as_trained("good", _shipped(half), half)
    right = _shipped(rows)
    kept = reference_of("band", right, NAMES, rows.from_what)
    yield Candidate("wrong signal order", Ends([Reordered(end) for end in right.estimators_]), rows, kept)
    yield _as_trained("one width for everything", Ends([Constant(end) for end in (-1.0, 0.0, 1.0)]), rows)
    incident = rows._replace(what=rows.what + 2.0)
    yield _as_trained("trained on an incident", _shipped(incident), incident)
    shuffled = rows._replace(what=rng.permutation(rows.what))
    yield _as_trained("shuffled values", _shipped(shuffled), shuffled)


def _as_trained(kind: str, estimator: Any, rows: Rows) -> Candidate:
    return Candidate(kind, estimator, rows, reference_of("band", estimator, NAMES, rows.from_what))


def _shipped(rows: Rows) -> Any:
    [(_, regressor), *_] = load_recipe("band", shipped_config()).candidates(0)
    return fitted(regressor, rows)


def _picked(rows: Rows, at: np.ndarray) -> Rows:
    return type(rows)(*(column[at] for column in rows))


def measured(seed: int, folder: Path) -> dict[str, Any]:
    """One world: what is said against each candidate, nothing where it passes."""
    dataset, windows = generate(folder, seed)
    spans = split_of(dataset.span, load_recipe("band", shipped_config()))
    parts = rows_of(Blocks(dataset, SIGNALS, 0, 0, windows=windows), spans, 60_000)
    rows, against = parts["fit"], list[tuple[str, tuple[str, ...]]]()
    try:
        _as_trained("NaN", Ends([Leaky(end) for end in _shipped(rows).estimators_]), rows)
        against.append(("NaN", ()))
    except DuriError as error:
        against.append(("NaN", (str(error),)))
    every = {str(number): one for number, one in enumerate(candidates(rows, np.random.default_rng(7)))}
    material = Material(dataset, SIGNALS, 0, 0, sought(dataset, spans["evaluate"], windows=windows), windows)
    normal, calibrated = banded(material, _scorers(every), spans["calibrate"])
    judged, columns = banded(material, _scorers(every), spans["evaluate"])
    calibration, evaluation = list(normal), list(judged.read(Learners()))
    for name, one in every.items():
        try:
            threshold = calibrate(calibrated[name].estimator, calibration, spans["calibrate"], BUDGET)
            check_reference("candidate", manifest_of("band", FEATURES, {}, threshold, one.reference), one.estimator)
        except DuriError as error:
            against.append((one.kind, (str(error),)))
            continue
        scorer = Scorer(columns[name].estimator, threshold)
        found = worth(evaluation, spans["evaluate"], {NEW: scorer}, Terms(Source.WINDOWS, BUDGET, 0))
        metrics = found.metrics | {gate.MOVED: _moved(one, parts)}
        manifest = manifest_of("band", FEATURES, metrics, threshold, one.reference)
        against.append((one.kind, gate.objections(manifest, None, SHADOW, ModelSettings().margin)))
    good = [reasons for kind, reasons in against if kind == "good"]
    bad = {kind: reasons for kind, reasons in against if kind != "good"}
    return {
        "bad_refused": f"{sum(map(bool, bad.values()))} of {len(bad)}",
        "good_passed": f"{sum(not reasons for reasons in good)} of {len(good)}",
        "bad": bad,
        "why_good_ones_were_refused": [reasons for reasons in good if reasons],
    }


def _scorers(every: Mapping[str, Candidate]) -> dict[str, Scorer]:
    return {name: Scorer(one.estimator, 0.0) for name, one in every.items()}


def _moved(one: Candidate, parts: Mapping[str, Rows]) -> float:
    usual = stability.spread(cells_of(one.estimator, one.rows, len(SIGNALS)))
    now = stability.counted(cells_of(one.estimator, parts["evaluate"], len(SIGNALS)))
    return stability.moved_share(now, usual)


def main() -> None:
    """A line for each world."""
    parser = argparse.ArgumentParser(description="Bad bands that the gate refuses, and good ones that pass.")
    parser.add_argument("seeds", type=int, nargs="+", help="Of the generated worlds.")
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            report("safety_bands", {"seed": seed, **measured(seed, Path(folder) / "data")})


if __name__ == "__main__":
    main()
