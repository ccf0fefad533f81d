"""Generated stories of a server that several services share: what is changed for one of them is changed for all.

The others are well, whatever the fault does to the first: they get a request every two seconds up to twenty a second,
of which one in five hundred fails by chance, and their latency wanders. Where the change makes things worse, it does so
for one of them alone, and the service that the advice was told of is mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from benchmarks.changes import HEALTHY, KINDS, Story

if TYPE_CHECKING:
    from pipeline.stage import LogRecord

_SERVERS: Final = ("pg.", "redis.")
_KINDS: Final = tuple(kind for kind in KINDS if kind.rule.startswith(("pg-", "redis-")))
_BY_CHANCE: Final = 0.002
_MOST: Final = 9
_FELT: Final = ("http.latency.mean", "http.latency.p50", "http.latency.p95", "http.latency.p99")


class SharedStory(Story):
    """One to nine services beside the first."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        rng = self._others = np.random.default_rng((seed, 2))
        self.kind = _KINDS[int(rng.integers(len(_KINDS)))]
        self.services = [f"beside_{number}" for number in range(int(rng.integers(1, _MOST + 1)))]
        self._rates = rng.uniform(0.5, 20.0, len(self.services))
        self._victim = str(rng.choice(self.services))
        self._wander = np.zeros(len(self.services))

    def _fault(self, fault: float) -> dict[str, float]:
        return super()._fault(0.0 if self.truth == "made worse" and fault != 1.0 else fault)

    def _interval(self, fault: float, *, harm: bool, wild: bool = False, loaded: bool = False) -> list[LogRecord]:
        *told, mark = super()._interval(fault, harm=False, wild=wild, loaded=loaded)
        for record in told:
            told = [record, *self._beside(msgspec.json.decode(record.value or b""), harm=harm)]
        return [*told, mark]

    def _beside(self, first: dict[str, Any], *, harm: bool) -> list[LogRecord]:
        """Frames of the others, in the interval of this one; their server's signals and anomalies are the same."""
        keep = float(np.exp(-self.frame_s / 60.0))
        noise = self._others.normal(0.0, 0.15, len(self.services))
        self._wander = keep * self._wander + np.sqrt(1.0 - keep**2) * noise
        interval = (first["start"], first["end"])
        server = {name: told["value"] for name, told in first["signals"].items() if name.startswith(_SERVERS)}
        rising = [each["signal"] for each in first["anomalies"] if each["signal"] in server]
        return [
            self.frame(service, {**HEALTHY, **server, **self._own(place, harm=harm)}, rising, interval)
            for place, service in enumerate(self.services)
        ]

    def _own(self, place: int, *, harm: bool) -> dict[str, float]:
        """What this one's requests met."""
        harmed = harm and self.services[place] == self._victim
        slower = self._slower if harmed and "slower" in self._harm else 1.0
        share = _BY_CHANCE + (self._errors if harmed and "errors" in self._harm else 0.0)
        requests = int(self._others.poisson(self._rates[place] * self.frame_s))
        told = {name: slower * HEALTHY[name] * float(np.exp(self._wander[place])) for name in _FELT}
        failed = float(self._others.binomial(requests, share)) / requests if requests else 0.0
        return {**told, "http.rps": requests / self.frame_s, "http.error_ratio": failed}
