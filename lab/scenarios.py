"""How many users there are, and how long each waits: the guide's three load scenarios, and the lab's own.

The guide's have its waits, and its users where two cores have room for them: of its 500 under stress seven tenths. The
lab's own has the guide's waits in its clock, which runs five times as fast: enough requests for windows of seconds, and
room for twice as many.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.backends import LabError

_ANSWER_S = 0.08
"""What an answer takes in the healthy lab."""
_LEAST_SHARE = 1 / 6
"""Of all requests, what each of the three services gets that are asked least: half of them go to the core."""


@dataclass(frozen=True)
class Scenario:
    """`users` who each wait so long (least and most, s of the wall's time) between an answer and the next request."""

    name: str
    users: int
    wait_s: tuple[float, float]
    lasts_s: float
    """How long a fault may last until there is advice, and a control lasts, in the lab's time."""
    expected_s: float
    """The guide's response time for such a load: no slower is p95 while all is well."""

    @property
    def least_rps(self) -> float:
        """Requests/s of each of the services that are asked least."""
        return self.users / (sum(self.wait_s) / 2 + _ANSWER_S) * _LEAST_SHARE


USUAL = Scenario("usual", 60, (0.2, 0.6), 180.0, 0.5)
SCENARIOS = {
    one.name: one
    for one in (
        USUAL,
        Scenario("normal", 50, (1.0, 3.0), 600.0, 0.2),
        Scenario("peak", 200, (1.0, 3.0), 300.0, 0.5),
        Scenario("stress", 350, (1.0, 3.0), 180.0, 1.0),
    )
}
"""By name. The guide's durations are 10, 5 and 2 minutes; the last is what a fault needs at least."""


def scenario_of(name: str) -> Scenario:
    """The scenario of this name. Raises LabError."""
    if name not in SCENARIOS:
        raise LabError(f"no such load scenario: {name}; there are: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
