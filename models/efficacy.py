"""How likely a kind of change helps, learned from outcomes; and how much a stated confidence is worth.

1. Each rule has a Beta posterior: its prior mean with the weight of `PRIOR_WEIGHT` outcomes, and what came of its
   recommendations since. Each context (a rule on a service) has one around its rule's, with `CONTEXT_WEIGHT`.
2. Old outcomes fade: each new one of a rule multiplies what was counted before by `FADE`.
3. The score of a recommendation is calibrated: by its value in ten bins, the share that helped is learned around
   the score itself; in between is interpolated, and the order of scores is kept.

Everything follows from the outcomes in their order: no chance, no clock.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

PRIOR_WEIGHT: Final = 4.0
CONTEXT_WEIGHT: Final = 3.0
FADE: Final = 0.98
CALIBRATION_WEIGHT: Final = 5.0
BINS: Final = 10
_CALIBRATION_FADE: Final = 0.998
_MOST_CONTEXTS: Final = 20_000


class Tally(msgspec.Struct):
    """Outcomes counted with their weights; old ones have faded."""

    helped: float = 0.0
    all: float = 0.0

    def add(self, helped: float, weight: float, fade: float) -> None:
        """One more outcome: `helped` is 1 where the change did what was promised, 0 where not."""
        self.helped = self.helped * fade + helped * weight
        self.all = self.all * fade + weight

    def mean(self, prior: float, strength: float) -> float:
        """Posterior mean around a prior mean of the weight of so many outcomes."""
        return (self.helped + strength * prior) / (self.all + strength)


class Efficacy(msgspec.Struct):
    """What is known of the rules' success. The struct is its own snapshot."""

    rules: dict[str, Tally] = {}
    contexts: dict[str, Tally] = {}
    """By rule and context; the least recently used are forgotten first."""
    bins: list[Tally] = msgspec.field(default_factory=lambda: [Tally() for _ in range(BINS)])
    results: dict[str, dict[str, int]] = {}
    """Outcomes of each rule by result, none forgotten."""

    def learn(self, rule: str, context: str, helped: float, weight: float) -> None:
        """Take an outcome of a rule in a context into account."""
        self.rules.setdefault(rule, Tally()).add(helped, weight, FADE)
        name = _name(rule, context)
        tally = self.contexts.pop(name, None) or Tally()
        tally.add(helped, weight, FADE)
        self.contexts[name] = tally  # the newest last
        if len(self.contexts) > _MOST_CONTEXTS:
            del self.contexts[next(iter(self.contexts))]

    def count(self, rule: str, result: str) -> None:
        """Count an outcome for the hit rate."""
        results = self.results.setdefault(rule, {})
        results[result] = results.get(result, 0) + 1

    def probability(self, rule: str, context: str, prior: float) -> float:
        """How likely the rule's change helps in this context, 0 to 1; the prior where nothing is known."""
        tally, own = self.rules.get(rule), self.contexts.get(_name(rule, context))
        mean = prior if tally is None else tally.mean(prior, PRIOR_WEIGHT)
        return mean if own is None else own.mean(mean, CONTEXT_WEIGHT)

    def calibrate(self, score: float, helped: float) -> None:
        """Learn what came of a recommendation that had this score, 0 to 1."""
        self.bins[min(int(score * BINS), BINS - 1)].add(helped, 1.0, _CALIBRATION_FADE)

    def confidence(self, score: float) -> float:
        """The share of recommendations with such a score that helped; the score itself where nothing is known."""
        if not any(tally.all for tally in self.bins):
            return score
        middles = (np.arange(BINS) + 0.5) / BINS
        shares = [
            tally.mean(float(middle), CALIBRATION_WEIGHT) for tally, middle in zip(self.bins, middles, strict=True)
        ]
        weights = [tally.all + CALIBRATION_WEIGHT for tally in self.bins]
        rising = _isotonic(shares, weights)
        return float(np.interp(score, [0.0, *middles, 1.0], [0.0, *rising, max(rising[-1], 1.0 - 0.5 / BINS)]))

    def hit_rate(self, rule: str) -> tuple[int, int]:
        """How many of the rule's applied recommendations were verified, and how many were applied."""
        results = self.results.get(rule, {})
        hits = results.get("verified", 0)
        return hits, hits + results.get("no_effect", 0) + results.get("regressed", 0)


def expected_calibration_error(confidence: np.ndarray, helped: np.ndarray, bins: int = BINS) -> float:
    """Mean distance of stated confidence and observed share over equal bins, weighted by their sizes (Naeini 2015)."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for number in range(bins):
        inside = which == number
        if inside.any():
            error += inside.mean() * abs(confidence[inside].mean() - helped[inside].mean())
    return float(error)


def _isotonic(values: list[float], weights: list[float]) -> list[float]:
    """The nearest sequence that never falls: pool adjacent violators (Ayer et al. 1955)."""
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, v, n), (b, w, m) = blocks[-2:]
            blocks[-2:] = [((a * v + b * w) / (v + w), v + w, n + m)]
    return [value for value, _, count in blocks for _ in range(count)]


def _name(rule: str, context: str) -> str:
    return f"{rule}\x1f{context}"
