"""Does ranking learn, and is confidence worth what it says? A generated world of rules, outcomes and feedback.

    python -m benchmarks.ranking

Nothing here was measured. Thirty rules with the shipped catalogue's priors have a true efficacy that has nothing to do
with their prior (uniform, 0.1 to 0.95), which differs by service (± 0.15); in the middle of the run a third of the
rules changes. Each incident offers one to three rules that match with some fit and certainty; what helps is drawn with
efficacy · fit^a · certainty^a, so that the score's formula is wrong in its exponent. The first choice is applied.

How often it helps says little by itself: worlds differ by eight points (standard deviation), and often nothing that is
offered helps. So what choosing by the priors alone reaches in the same world stands beside it, and what who knew the
truth would reach. The number of rules is part of the world: it is the same however many the catalogue has.
"""

from __future__ import annotations

import json
import sys
from typing import NamedTuple

import numpy as np

from benchmarks.harness import median, report
from models.efficacy import BINS, Efficacy, expected_calibration_error
from pipeline.advise.rules.catalogue import load_catalogue
from pipeline.configfile import shipped_config
from pipeline.signals.definitions import load_definitions

RULES = 30
INCIDENTS = 3000
SERVICES = 8
SEEDS = range(50, 60)
ASKED_ECE = 0.1


class Run(NamedTuple):
    """By incident: the confidence that was stated, whether the first choice helped, and whether the best would have."""

    stated: np.ndarray
    helped: np.ndarray
    best: np.ndarray


def main() -> None:
    """Run and print one line, and the reliability table of the first seed above it."""
    catalogue = load_catalogue(shipped_config() / "catalogue", load_definitions(shipped_config()))
    priors = {entry.rule.id: entry.rule.prior for entry in catalogue.rules[:RULES]}
    runs = [world(seed, priors) for seed in SEEDS]
    confidence, helped, _ = runs[0][0]
    sys.stdout.write(json.dumps({"reliability": table(confidence, helped)}) + "\n")
    late = [(conf[INCIDENTS // 10 :], good[INCIDENTS // 10 :]) for (conf, good, _), _ in runs]
    report(
        "ranking",
        {
            "incidents": INCIDENTS,
            "seeds": [SEEDS[0], SEEDS[-1]],
            "ece_after_the_first_tenth": round(median([expected_calibration_error(*each) for each in late]), 4),
            "ece_worst": round(max(expected_calibration_error(*each) for each in late), 4),
            "ece_from_the_start": round(median([expected_calibration_error(*run[0][:2]) for run in runs]), 4),
            "ece_without_learning": round(median([expected_calibration_error(*run[1][:2]) for run in runs]), 4),
            "asked_ece": ASKED_ECE,
            "first_choice_helped": round(median([float(run[0][1].mean()) for run in runs]), 4),
            "first_choice_helped_without_learning": round(median([float(run[1][1].mean()) for run in runs]), 4),
            "best_choice_would_have_helped": round(median([float(run[0][2].mean()) for run in runs]), 4),
            "of_that_gain_learned": round(median([_gain(*run) for run in runs]), 4),
        },
    )


def world(seed: int, priors: dict[str, float]) -> tuple[Run, Run]:
    """What was stated and what came of it, with learning and without."""
    return _run(seed, priors, learns=True), _run(seed, priors, learns=False)


def _gain(learning: Run, priors: Run) -> float:
    """How much of what knowing the truth would bring beyond the priors learning has brought."""
    return float((learning.helped.mean() - priors.helped.mean()) / (learning.best.mean() - priors.helped.mean()))


def _run(seed: int, priors: dict[str, float], *, learns: bool) -> Run:
    rng = np.random.default_rng(seed)
    rules = list(priors)
    truth = rng.uniform(0.1, 0.95, len(rules))
    by_service = rng.uniform(-0.15, 0.15, (len(rules), SERVICES))
    exponent = float(rng.choice([0.5, 1.0, 2.0]))
    efficacy, stated, helped, possible = Efficacy(), [], [], []
    for number in range(INCIDENTS):
        if number == INCIDENTS // 2:
            changed = rng.choice(len(rules), len(rules) // 3, replace=False)
            truth[changed] = rng.uniform(0.1, 0.95, len(changed))
        service = int(rng.integers(SERVICES))
        offers = rng.choice(len(rules), int(rng.integers(1, 4)), replace=False).tolist()
        fits = (rng.uniform(0.75, 1.0, len(offers)) * rng.choice([0.5, 0.75, 1.0], len(offers))).tolist()
        chance = rng.random()
        scores = [
            efficacy.probability(rules[rule], str(service), priors[rules[rule]]) * fit
            for rule, fit in zip(offers, fits, strict=True)
        ]
        best = int(np.argmax(scores))
        rule, score = offers[best], scores[best]
        true = np.clip(truth[offers] + by_service[offers, service], 0.02, 0.98) * np.array(fits) ** exponent
        good = float(chance < true[best])
        stated.append(efficacy.confidence(score))
        helped.append(good)
        possible.append(float(chance < true.max()))
        if learns:
            efficacy.learn(rules[rule], str(service), good, 1.0)
            efficacy.calibrate(score, good)
    return Run(np.array(stated), np.array(helped), np.array(possible))


def table(confidence: np.ndarray, helped: np.ndarray) -> list[dict[str, float]]:
    """Stated and observed by bin."""
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {
            "bin": number / BINS,
            "cases": int((which == number).sum()),
            "stated": round(float(confidence[which == number].mean()), 3),
            "observed": round(float(helped[which == number].mean()), 3),
        }
        for number in range(BINS)
        if (which == number).any()
    ]


if __name__ == "__main__":
    main()
