"""Other detectors on many series, one score a sample: those of this environment, of another Python, and of Java."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from river import anomaly

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from models.contracts import Float64s, Int64s

HERE = Path(__file__).parent
PYTHON_PEERS = HERE / "peers" / "python_peers.py"
JAVA_PEER = HERE / "peers" / "RandomCutForestScores.java"
JARS = {
    "software.amazon.randomcutforest:randomcutforest-core:4.3.0": (
        "7f43f12ceb2d2b137ccdf5b6277432b9266d2ddec51a765b9ed89c9f12a678f4"
    ),
    "software.amazon.randomcutforest:randomcutforest-parkservices:4.3.0": (
        "21fa7c3ffa51f6abcfc951fc6ae9c3bed310667623c27a051400269e52d0a61f"
    ),
}
"""What the Java peer needs, with SHA-256."""


class Recorded(NamedTuple):
    """Times int64[n] ms and values float64[n] of a series."""

    ts: Int64s
    values: Float64s


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores float64[n] of each series, CPU seconds for all, bytes a series (None: not known), and the day."""

    scores: Mapping[str, Float64s]
    seconds: float
    state: int | None
    measured: str

    @staticmethod
    def now(scores: Mapping[str, Float64s], seconds: float, state: int | None) -> Scored:
        """Measured today."""
        return Scored(scores, seconds, state, datetime.now(UTC).date().isoformat())


def one_by_one(score: Callable[[Float64s], tuple[Float64s, int | None]], series: Mapping[str, Recorded]) -> Scored:
    """Run a detector of this environment on each series."""
    scores: dict[str, Float64s] = {}
    began, state = time.process_time(), None
    for name, one in series.items():
        scores[name], state = score(one.values)
    return Scored.now(scores, time.process_time() - began, state)


def ewma_z(rate: float) -> Callable[[Float64s], tuple[Float64s, int | None]]:
    """Exponentially weighted z with a floor of 3 % of the range so far; four numbers of state."""

    def score(values: Float64s) -> tuple[Float64s, int | None]:
        scores = np.zeros(len(values))
        first, *rest = values.tolist()
        mean, variance, low, high = first, 0.0, first, first
        for i, value in enumerate(rest, start=1):
            residual = value - mean
            scores[i] = abs(residual) / (variance**0.5 + 0.03 * (high - low) + 1e-12)
            weight = max(rate, 1.0 / (i + 1))
            mean += weight * residual
            variance += weight * (residual * residual - variance)
            low, high = min(low, value), max(high, value)
        scores[:30] = 0.0
        return scores, 32

    return score


def half_space_trees(values: Float64s) -> tuple[Float64s, int | None]:
    """River's HalfSpaceTrees on values scaled by the range so far."""
    model = anomaly.HalfSpaceTrees(seed=42)
    low = high = values[0]
    scores = np.zeros(len(values))
    for i, value in enumerate(values.tolist()):
        low, high = min(low, value), max(high, value)
        x = {"x": (value - low) / (high - low) if high > low else 0.0}
        scores[i] = model.score_one(x)
        model.learn_one(x)
    return scores, pickled(model)


def absolute_deviation(values: Float64s) -> tuple[Float64s, int | None]:
    """River's StandardAbsoluteDeviation."""
    model = anomaly.StandardAbsoluteDeviation()
    scores = np.zeros(len(values))
    for i, value in enumerate(values.tolist()):
        scores[i] = model.score_one(None, value)
        model.learn_one(None, value)
    return np.nan_to_num(scores, nan=0.0, posinf=0.0), pickled(model)


def pickled(model: Any) -> int:
    """Bytes of a model as Python writes it; more in memory."""
    return len(pickle.dumps(model))


def python_peer(python: Path, model: str, series: Mapping[str, Recorded]) -> Scored:
    """Run a model of `peers/python_peers.py` with another environment's Python."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **{name: one.values for name, one in series.items()})
        # One thread, as all others have.
        alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run([python, PYTHON_PEERS, model, source, target], check=True, env=alone, stdout=subprocess.DEVNULL)
        with np.load(target) as found:
            scores = {name: found[name] for name in series}
            return Scored.now(scores, float(found["seconds"]), int(found["state"]))


def java_peer(series: Mapping[str, Recorded], *, graded: bool) -> Scored:
    """Run AWS's random cut forest: by its score, or by the grade that it gives to what it calls anomalies."""
    javac, java = shutil.which("javac"), shutil.which("java")
    if javac is None or java is None:
        raise SystemExit(
            "AWS's random cut forest needs a JDK: put javac and java on the path, or leave it out (--only)"
        )
    path = os.pathsep.join(str(jar) for jar in _jars())
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.csv", Path(folder) / "out.csv"
        with source.open("w") as lines:
            for number, one in enumerate(series.values()):
                seconds = zip((one.ts // 1000).tolist(), one.values.tolist(), strict=True)
                lines.writelines(f"{number},{at},{value!r}\n" for at, value in seconds)
        subprocess.run([javac, "-d", folder, "-cp", path, JAVA_PEER], check=True)
        run = [java, "-Xmx2g", "-cp", f"{path}{os.pathsep}{folder}", JAVA_PEER.stem, source, target]
        said = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        scores = np.loadtxt(target, delimiter=",", usecols=int(graded))
    taken, state = said.split(",")
    ends = np.cumsum([len(one.values) for one in series.values()])[:-1]
    return Scored.now(dict(zip(series, np.split(scores, ends), strict=True)), float(taken), int(state))


def _jars() -> list[Path]:
    """Jars of the Java peer from Maven, each checked."""
    from jgo.maven import MavenContext  # noqa: PLC0415  takes a moment, and only this needs it

    context = MavenContext()
    paths = []
    for coordinate, expected in JARS.items():
        path: Path = context.create_dependency(coordinate).artifact.resolve()
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise SystemExit(f"{path}: is not the {coordinate} that was measured (SHA-256 differs)")
        paths.append(path)
    return paths


def kept(folder: Path | None, name: str, series: Mapping[str, Recorded], run: Callable[[], Scored]) -> Scored:
    """What an earlier run left in the folder for these very series, else a new run, which is left there."""
    if folder is None:
        return run()
    digest = hashlib.sha256(b"".join(one.values.tobytes() for one in series.values())).hexdigest()[:12]
    path = folder / f"{name.replace(' ', '-').replace(',', '')}-{digest}.npz"
    if path.exists():
        with np.load(path) as found:
            state = int(found["state"])
            return Scored({key: found[key] for key in series}, float(found["seconds"]), state, str(found["measured"]))
    scored = run()
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(path, seconds=scored.seconds, state=scored.state or 0, measured=scored.measured, **scored.scores)
    return scored
