"""How much two equally good models differ by chance: what `models.margin` must let pass.

In each world of `benchmarks.safety` the shipped recipes of detectors learn five times, from other halves of the same
rows, and each version is judged beside the one before it (the first beside the last), by the code of `duri train`: ten
pairs of equals a world. Told is where the 95 % interval of the F1 difference begins: in how many pairs at the margin or
above, and where 19 of 20 of them begin or above.

    python -m benchmarks.margin SEED…      1 to 10 have set it
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import report
from benchmarks.safety import BUDGET, RECIPES, good, world_of
from pipeline.offline.training.evaluating import LIVE, NEW, Scorer
from pipeline.offline.training.fitting import calibrate
from pipeline.offline.training.sought import Source
from pipeline.offline.training.worth import Terms, worth
from pipeline.registry.gate import AGAINST_LIVE
from pipeline.settings import ModelSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.safety import World

SHARE = 0.95


def beginnings(world: World) -> Iterator[float]:
    """Where the interval of each pair begins."""
    scorers: dict[str, list[Scorer]] = {recipe: [] for recipe in RECIPES}
    for one in good(world):
        threshold = calibrate(one.estimator, world.blocks, world.spans["calibrate"], BUDGET)
        scorers[one.kind].append(Scorer(one.estimator, threshold))
    terms = Terms(Source.WINDOWS, BUDGET, 0)
    for equals in scorers.values():
        for at, new in enumerate(equals):
            beside = {NEW: new, LIVE: equals[at - 1]}
            yield worth(world.blocks, world.spans["evaluate"], beside, terms).metrics[AGAINST_LIVE]


def main() -> None:
    """One line for all worlds."""
    parser = argparse.ArgumentParser(description="How much equally good models differ by chance.")
    parser.add_argument("seeds", type=int, nargs="+", help="Of the generated worlds.")
    found: list[float] = []
    seeds = parser.parse_args().seeds
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            found += beginnings(world_of(seed, Path(folder) / "data"))
    low, margin = np.array(found), ModelSettings().margin
    figures = {
        "seeds": seeds,
        "pairs": len(low),
        "margin": margin,
        "begin_at_the_margin_or_above": int((low >= -margin).sum()),
        "nineteen_of_twenty_begin_at": round(float(np.quantile(low, 1 - SHARE, method="lower")), 4),
        "lowest": round(float(low.min()), 4),
    }
    report("margin", figures)


if __name__ == "__main__":
    main()
