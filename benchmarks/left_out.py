"""How well the bank's constants carry over: each group of series judged by constants that were chosen without it.

The groups are NAB's categories and the domains of the cloud series. For each, a search of its own chooses the constants
in `BOUNDS` on all other series and the synthetic troubles; the group itself is then judged by them, once. A search
knows nothing of the defaults: it begins with draws from the whole of the bounds, and goes on around its best. So
`nab_standard` and `cloud_f1` are of series that had no part in the choice; `in_sample_…` are of one search that saw
all, `defaults_…` of the constants that the bank has. `cost` is what the settings lose by the synthetic troubles.

    python -m benchmarks.left_out --nab DIR --cloud DIR [--draws 160] [--steps 120]
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from benchmarks.harness import report
from models.corpora import load_labelled, load_nab
from models.evaluation import NAB_PROFILES, EventCounts, nab_curve
from models.online.bank import Bank
from models.online.tuning import Tuning
from models.replay import replay
from models.trials.events import JudgedEvents, count_events
from models.trials.nab import JudgedNab, read
from models.trials.synthetic import Found, Quiet, Scene, quiet, run
from models.trials.troubles import Background, Noise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "level_units": (20.0, 120.0),
    "scale_units": (40.0, 300.0),
    "range_floor": (0.01, 0.08),
    "season_rate": (0.1, 0.5),
    "drift_units": (2.0, 8.0),
    "spike": (3.0, 5.0),
    "spike_above": (0.0, 6.0),
    "drifted": (1.0, 2.0),
    "drifted_above": (0.0, 3.0),
    "drifted_busy": (0.0, 4.0),
    "apart": (0.6, 4.0),
    "apart_above": (0.0, 4.0),
    "novel": (0.8, 3.0),
    "novel_young": (0.0, 600.0),
    "routine_days": (4.0, 25.0),
    "spike_teaches": (1.0, 4.0),
    "drift_teaches": (1.0, 8.0),
    "frequent_burst": (1.0, 3.0),
    "away_times": (1.1, 2.0),
    "usual_rate": (0.0001, 0.002),
    "rearm": (0.4, 1.0),
    "rearm_units": (12.0, 30.0),
}
"""Constants that are chosen, and from where."""

WANTED: Final[Mapping[str, float]] = {
    "spike of 6": 0.90,
    "spike of 10": 0.98,
    "shift of 3": 0.95,
    "flatline": 0.95,
    "dropped season": 0.95,
    "20 bouts of 8": 0.90,
    "20 spikes of 10": 0.90,
}
"""Synthetic troubles, a minute a sample, and the share that must be found."""
CALM: Final[Mapping[str, float]] = {Noise.GAUSSIAN: 0.02, Noise.STUDENT_T3: 0.05}
"""False alarms a series-day that healthy series may have, by their noise."""

_SHORT: Final = 40.0  # points for a trouble that is never found
_LOUD: Final = 150.0  # points for a false alarm a series-day too many
_BEST: Final = 8  # settings that a search goes on from
_CHANGED: Final = 0.22  # share of the constants that a step changes
_STRIDE: Final = 0.12  # of the bounds: standard deviation of such a change
_STANDARD: Final = NAB_PROFILES["standard"]

Setting = dict[str, float]


class Raw(NamedTuple):
    """Raw NAB score of a category, and its labelled windows."""

    score: float
    windows: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What a setting is worth: by NAB category, by domain, and the points that synthetic troubles cost it."""

    setting: Setting
    nab: Mapping[str, Raw]
    cloud: Mapping[str, EventCounts]
    cost: float

    def standard(self, without: str) -> float:
        """NAB's standard score of all categories but one."""
        return normalised([raw for name, raw in self.nab.items() if name != without])

    def f1(self, without: str) -> float:
        """F1 over all domains but one."""
        return sum((one for name, one in self.cloud.items() if name != without), EventCounts()).f1

    def worth(self, without: str) -> float:
        """What a search looks at: it never sees the group that is left out."""
        return self.standard(without) + 100.0 * self.f1(without) - self.cost


def normalised(parts: Sequence[Raw]) -> float:
    """NAB's score of several categories: 100 is perfect, 0 is silence."""
    windows = sum(part.windows for part in parts)
    silent, perfect = -_STANDARD.fn * windows, _STANDARD.tp * windows
    return 100.0 * (sum(part.score for part in parts) - silent) / (perfect - silent)


class Corpora:
    """The series and troubles that settings are judged on."""

    def __init__(self, nab: Path, cloud: Path, seed: int) -> None:
        self._nab, self._cloud, self._seed = load_nab(nab), load_labelled(cloud), seed
        self.categories = sorted({file.name.split("/")[0] for file in self._nab})
        self.domains = sorted({file.name.split("/")[0] for file in self._cloud})

    def judge(self, setting: Setting) -> Judged:
        """Let banks with these constants judge everything."""
        make = partial(Bank, tuning=Tuning()._replace(**setting))
        nab, cloud = defaultdict(list), defaultdict(EventCounts)
        for file in self._nab:
            one = JudgedNab(file, replay(make, file.ts, file.values))
            nab[one.category].append(read(one, "raised"))
        for labelled in self._cloud:
            other = JudgedEvents(labelled, replay(make, labelled.ts, labelled.values))
            cloud[other.domain] += count_events(other)
        curves = {name: nab_curve(series, _STANDARD) for name, series in nab.items()}
        raw = {name: Raw(curve.at(1.0), curve.windows) for name, curve in curves.items()}
        return Judged(setting, raw, dict(cloud), self._cost(make))

    def _cost(self, make: partial[Bank]) -> float:
        cost = 0.0
        scene = Scene(60, Noise.GAUSSIAN, Background.DAILY, self._seed)
        for one in run(make, scene):
            if isinstance(one, Found):
                cost += _SHORT * max(0.0, WANTED.get(one.trouble, 0.0) - one.found / one.times)
            else:
                cost += _loudness(one)
        return cost + _loudness(quiet(make(), replace(scene, noise=Noise.STUDENT_T3)))


def _loudness(healthy: Quiet) -> float:
    return _LOUD * max(0.0, healthy.alarms / healthy.series_days - CALM[healthy.noise])


def outside() -> list[str]:
    """Name the bank's constants that no search could choose."""
    return [name for name, (low, high) in BOUNDS.items() if not low <= getattr(Tuning(), name) <= high]


def draw(rng: np.random.Generator) -> Setting:
    """Draw a setting from the whole of the bounds."""
    return {name: float(rng.uniform(low, high)) for name, (low, high) in BOUNDS.items()}


def changed(setting: Setting, rng: np.random.Generator) -> Setting:
    """Change some constants of a setting a little."""
    new = dict(setting)
    for name, (low, high) in BOUNDS.items():
        if rng.random() < _CHANGED:
            new[name] = float(np.clip(new[name] + rng.normal(0.0, _STRIDE) * (high - low), low, high))
    return new


def search(corpora: Corpora, drawn: Sequence[Judged], without: str, steps: int, seed: int) -> Judged:
    """Choose constants by everything but one group; "" leaves nothing out."""
    rng = np.random.default_rng([seed, sum(without.encode())])
    best = sorted(drawn, key=lambda one: -one.worth(without))[:_BEST]
    for _ in range(steps):
        tried = corpora.judge(changed(best[rng.integers(len(best))].setting, rng))
        best = sorted([*best, tried], key=lambda one: -one.worth(without))[:_BEST]
    return best[0]


def figures(corpora: Corpora, chosen: Mapping[str, Judged]) -> dict[str, Any]:
    """Judge each group by what was chosen without it."""
    apart, together, usual = {name: chosen[name] for name in chosen if name}, chosen[""], corpora.judge({})
    domains = {name: apart[name].cloud[name] for name in corpora.domains}
    return {
        "nab_standard": round(normalised([apart[name].nab[name] for name in corpora.categories]), 1),
        "cloud_f1": round(sum(domains.values(), EventCounts()).f1, 3),
        "in_sample_nab_standard": round(together.standard(""), 1),
        "in_sample_cloud_f1": round(together.f1(""), 3),
        "in_sample_cost": round(together.cost, 1),
        "defaults_nab_standard": round(usual.standard(""), 1),
        "defaults_cloud_f1": round(usual.f1(""), 3),
        "defaults_cost": round(usual.cost, 1),
        "cost": round(float(np.mean([one.cost for one in apart.values()])), 1),
        "cloud_f1_by_domain": {name: round(one.f1, 3) for name, one in domains.items()},
        "nab_standard_by_category": {
            name: round(normalised([apart[name].nab[name]]), 1)
            for name in corpora.categories
            if apart[name].nab[name].windows
        },
    }


def main() -> None:
    """Search, and judge what was left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nab", type=Path, required=True)
    parser.add_argument("--cloud", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=160, help="settings from the whole of the bounds")
    parser.add_argument("--steps", type=int, default=120, help="of each search around its best")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if names := outside():
        parser.error(f"defaults outside their bounds: {', '.join(names)}")
    corpora, rng = Corpora(args.nab, args.cloud, args.seed), np.random.default_rng(args.seed)
    groups = ["", *corpora.categories, *corpora.domains]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        drawn = list(pool.map(corpora.judge, [draw(rng) for _ in range(args.draws)], chunksize=4))
        seek = partial(search, corpora, drawn, steps=args.steps, seed=args.seed)
        chosen = dict(zip(groups, pool.map(seek, groups), strict=True))
    report("left_out", {"draws": args.draws, "steps": args.steps, **figures(corpora, chosen)})


if __name__ == "__main__":
    main()
