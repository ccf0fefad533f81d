"""Standing recommendations: the same thing to change on the same target is one recommendation, kept up to date.

    proposed ──► acknowledged ──► applied ──► verified | no_effect | regressed
        └─────────────┴──► rejected | expired | superseded

A record goes out when one is opened, moves, changes rank or severity, and at most every `update_every_s` besides.
What ended is not proposed again before its cool-down is over. `Board` holds them; it decides nothing of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from pipeline.advise.outcomes.windows import Trial
from pipeline.advise.rules.judge import standing_key
from pipeline.records import Outcome, Recommendation, RecommendationState, check_move, content_id, from_ms, to_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.advise.rules.judge import Match
    from pipeline.advise.rules.lessons import Lessons
    from pipeline.records import Comparison, Muting

WAITING: Final = frozenset({RecommendationState.PROPOSED, RecommendationState.ACKNOWLEDGED})
"""States in which nobody has done anything yet."""
_TURNS: Final = 3
"""Intervals in a row after which what is in the way of a change counts, or no longer does."""


Result = Literal["verified", "no_effect", "regressed", "rejected", "expired"]
RESULTS: Final[Mapping[RecommendationState, Result]] = {
    RecommendationState.VERIFIED: "verified",
    RecommendationState.NO_EFFECT: "no_effect",
    RecommendationState.REGRESSED: "regressed",
    RecommendationState.REJECTED: "rejected",
    RecommendationState.EXPIRED: "expired",
}
"""Ends that make an outcome; what was superseded had none."""


def undo_key(key: str) -> str:
    """What the undo of a change of this would change: the same, and beside it."""
    return f"undo\x1f{key}"


class Standing(msgspec.Struct):
    """An open recommendation; times in ms."""

    record: Recommendation
    incident: str
    matched: int
    """When its rule last held; of an undo, when the harm was last not known to be gone."""
    emitted: int
    usual: dict[str, float] = {}
    before: dict[str, float] = {}
    """Signals when its rule last held: what a verification compares with."""
    score: float = 0.0
    """Confidence before calibration, when its rule last held."""
    signals: list[str] = []
    """Signals that its rule looks at whose anomalies stood behind it when it last held."""
    weakest: str = ""
    """What holds its confidence down most, in words."""
    hindered: str = ""
    """Its own reason to abort, in words, where that holds before anything was changed."""
    turning: int = 0
    """Intervals in a row in which that was otherwise."""
    turned: int = 0
    """When it last began or ceased to be hindered."""
    onset: int = 0
    """When the incident opened that it is about."""
    began: int = 0
    """Since when its rule has held; an incident may be older, and of something else. 0: since the incident opened."""
    applied: int | None = None
    held: int = 0
    """Until when it is snoozed."""
    trial: Trial | None = None
    """What was before it was applied; opened with the first interval that reaches that moment."""
    others: list[Trial] = []
    """The same of the other services that share what was changed: none of them may be worse off either."""
    held_back: list[bool] = []
    """Whether the verification's condition held, in the newest undisturbed intervals after the change."""
    undoes: str = ""
    """Id of the recommendation that this one takes back."""
    shown: bool = False
    """Whether the settings gauges have shown what it takes back."""

    @property
    def key(self) -> str:
        """What it would change."""
        target = self.record.target
        key = standing_key(target.service, target.component, target.resource, self.record.change.parameter)
        return undo_key(key) if self.undoes else key

    @property
    def keys(self) -> list[str]:
        """Its key, and those of the other services that share it."""
        target, parameter = self.record.target, self.record.change.parameter
        sharing = dict.fromkeys([target.service, *target.shared_by])
        keys = [standing_key(service, target.component, target.resource, parameter) for service in sharing]
        return [undo_key(key) for key in keys] if self.undoes else keys

    @property
    def waiting(self) -> bool:
        """Whether it is open and nobody has applied it."""
        return self.record.state in WAITING

    def see(self, match: Match, now: int) -> None:
        """Take note that its rule holds: for another that shares what would be changed, no more than that."""
        self.matched = now
        if match.facts.service != self.record.target.service:
            return
        self.score = match.score
        self.weakest = match.weakest
        self.signals = match.behind
        self.before = match.facts.signals()
        self.usual = dict(match.facts.usual)
        self._see_hindrance(match.hindered, now)

    def _see_hindrance(self, hindered: str, now: int) -> None:
        """What begins or ceases to be in the way must do so for some intervals: values near a limit come and go."""
        self.turning = self.turning + 1 if bool(hindered) is not bool(self.hindered) else 0
        if not self.turning:
            self.hindered = hindered
        elif self.turning >= _TURNS:
            self.hindered, self.turning, self.turned = hindered, 0, now


class Found(NamedTuple):
    """What a verification measured."""

    compared: Sequence[Comparison] = ()
    disturbed: int = 0
    answer: str = ""
    """The verdict of whoever ended it, where it says more than the state."""


class BoardState(msgspec.Struct):
    """What the board must remember."""

    standing: dict[str, Standing] = {}
    doubts: dict[str, list[float]] = {}
    """By service and signal: how often it was called noise, and when last (ms)."""
    cooling: dict[str, int] = {}
    """Until when (ms) a thing is not proposed again, by key."""


class Board:
    """The open recommendations, by id and by what they would change."""

    def __init__(self, lessons: Lessons, cooldown_ms: int, rejected_ms: int) -> None:
        self.state = BoardState()
        self._lessons = lessons
        self.outbox: list[tuple[int, Recommendation | Outcome | Muting]] = []
        """Records to write, each with its time; the stage empties it."""
        self._by_key: dict[str, list[str]] = {}
        """Ids, oldest first: two that would change the same may have come to stand together."""
        self._keys: dict[str, list[str]] = {}
        """Under which it is found, by id: who shares a thing may change while it stands."""
        self._by_incident: dict[str, set[str]] = {}
        self._cooldown_ms = cooldown_ms
        self._rejected_ms = rejected_ms

    def __len__(self) -> int:
        return len(self.state.standing)

    def __iter__(self) -> Iterator[Standing]:
        return iter(list(self.state.standing.values()))

    def get(self, identity: str) -> Standing | None:
        """The open recommendation of that id."""
        return self.state.standing.get(identity)

    def about(self, key: str) -> Standing | None:
        """The open recommendation that would change this, whichever of those that share it it is told of."""
        found = self._by_key.get(key)
        return self.state.standing[found[-1]] if found else None

    def of(self, incident: str) -> list[Standing]:
        """Open recommendations of an incident, first choice first."""
        mine = (self.state.standing[identity] for identity in self._by_incident.get(incident, ()))
        return sorted(mine, key=lambda standing: (standing.record.rank, standing.record.id))

    def cooling(self, key: str, now: int) -> bool:
        """Whether this was advised too short a while ago."""
        return self.state.cooling.get(key, 0) > now

    def open(self, standing: Standing) -> None:
        """Put up a new one; it is written once its rank is known."""
        self.state.standing[standing.record.id] = standing
        self._index(standing)

    def revise(self, standing: Standing, record: Recommendation) -> None:
        """Let it say this, of those that this record names."""
        self._unindex(standing)
        standing.record = record
        self._index(standing)

    def hand_over(self, standing: Standing, incident: str) -> None:
        """Make it a recommendation of another incident."""
        self._unindex(standing)
        standing.incident = incident
        self._index(standing)

    def emit(self, standing: Standing, now: int) -> None:
        """Write its record as it is now."""
        standing.record = standing.record.model_copy(update={"updated": from_ms(now)})
        standing.emitted = now
        self.outbox.append((now, standing.record))

    def write(self, now: int, record: Outcome | Muting) -> None:
        """Write what came of a change that nobody recommended, or that a signal is quietened."""
        self.outbox.append((now, record))

    def move(self, standing: Standing, state: RecommendationState, now: int) -> None:
        """Change its state and write it. Raises LifecycleError where the move is not legal."""
        check_move(standing.record.state, state)
        why = standing.record.why
        if standing.waiting and state not in WAITING:
            why = why.model_copy(update={"reason": f"When it was advised: {why.reason}"})
        standing.record = standing.record.model_copy(update={"state": state, "why": why})
        self.emit(standing, now)

    def end(
        self,
        standing: Standing,
        state: RecommendationState,
        now: int,
        note: str = "",
        found: Found | None = None,
        *,
        cool: bool = True,
    ) -> None:
        """Move it to a final state, write what came of it, and, where `cool`, let its subject cool down."""
        self.move(standing, state, now)
        record = standing.record
        del self.state.standing[record.id]
        self._unindex(standing)
        rejected = state is RecommendationState.REJECTED
        until = now + (self._rejected_ms if rejected else self._cooldown_ms)
        if cool:
            self.state.cooling.update(dict.fromkeys(standing.keys, until))
        if state in RESULTS:
            found = found or Found()
            if not standing.undoes:  # an undo is no rule's idea
                self._lessons.take(record, standing.score, found.answer or RESULTS[state])
            rate = self._lessons.efficacy.hit_rate(record.provenance.rule)
            self.outbox.append((now, _outcome(standing, now, note, found, rate)))

    def forget(self, now: int) -> None:
        """Drop cool-downs that are over."""
        if any(until <= now for until in self.state.cooling.values()):
            self.state.cooling = {key: until for key, until in self.state.cooling.items() if until > now}

    def restore(self, state: BoardState) -> None:
        """Go on from there."""
        self.state = state
        self._by_key, self._keys, self._by_incident = {}, {}, {}
        for standing in state.standing.values():
            self._index(standing)

    def expired(self, now: int) -> list[Standing]:
        """Those that nobody answered in time."""
        return [each for each in self.state.standing.values() if each.waiting and to_ms(each.record.expires) <= now]

    def _index(self, standing: Standing) -> None:
        self._keys[standing.record.id] = standing.keys
        for key in standing.keys:
            self._by_key.setdefault(key, []).append(standing.record.id)
        self._by_incident.setdefault(standing.incident, set()).add(standing.record.id)

    def _unindex(self, standing: Standing) -> None:
        for key in self._keys.pop(standing.record.id):
            self._by_key[key].remove(standing.record.id)
            if not self._by_key[key]:
                del self._by_key[key]
        mine = self._by_incident[standing.incident]
        mine.discard(standing.record.id)
        if not mine:
            del self._by_incident[standing.incident]


def _outcome(standing: Standing, now: int, note: str, found: Found, rate: tuple[int, int]) -> Outcome:
    record = standing.record
    signal = record.verification.signal
    return Outcome(
        id=content_id("outcome", record.id, record.state),
        recommendation=record.id,
        rule=record.provenance.rule,
        rule_version=record.provenance.rule_version,
        at=from_ms(now),
        result=RESULTS[record.state],
        service=record.target.service,
        signal=signal,
        before=found.compared[0].before if found.compared else standing.before.get(signal),
        after=found.compared[0].after if found.compared else None,
        compared=list(found.compared),
        disturbed=found.disturbed,
        rule_verified=rate[0],
        rule_applied=rate[1],
        note=note,
    )
