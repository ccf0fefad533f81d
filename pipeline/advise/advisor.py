"""From matches to the board: which recommendations of an incident stand, in which order, and when they end.

1. A rule must match `decide_after_frames` intervals in a row, and its incident's cause be decided. Advice from symptoms
   alone waits twice as long: something more specific may show later.
2. One recommendation per thing to change, in however many incidents it shows; three at most an incident; a new one
   takes the place of the weakest only where it is clearly surer. Advice from symptoms alone gives way to anything more
   specific about its service.
3. Rank follows confidence, and who stands already keeps its place unless another is clearly surer: a list that
   reorders itself each minute is no list. An undo goes first, then what was applied, until it is judged. Whose rule no
   longer holds ranks behind all whose rules do, and gives way to them; so does one whose own `abort_if`
   holds already, to what can be done now.
4. They end: answered, expired, verified, or when their incident or their rule's conditions are gone; an undo, when
   the harm is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline import quantities as fmt
from pipeline.advise.order import CLEARLY, Behind, in_order
from pipeline.advise.outcomes.standing import Standing, undo_key
from pipeline.advise.rules.drafting import Moment, draft, raise_severity, redraft
from pipeline.advise.rules.rule import Tier
from pipeline.advise.sharing import Sharing
from pipeline.records import RecommendationState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from pipeline.advise.frames import Frame
    from pipeline.advise.incidents.incident import OpenIncident
    from pipeline.advise.outcomes.standing import Board
    from pipeline.advise.rules.catalogue import Catalogue
    from pipeline.advise.rules.judge import Match
    from pipeline.records import Change, Recommendation
    from pipeline.settings import AdviseSettings

MAX_CHOICES: Final = 3
"""Recommendations that an incident has at a time."""
_PATIENCE: Final = 3
"""Times `decide_after_frames` intervals without its rule before a recommendation is behind those that hold."""
_HYSTERESIS: Final = 0.25
"""Relative change of the recommended value below which the standing value is kept."""


class Advisor:
    """Keeps the board in line with what the rules say."""

    def __init__(self, settings: AdviseSettings, catalogue: Catalogue, board: Board, frame_ms: int) -> None:
        self.board = board
        self.opened: dict[str, int] = {}
        """Recommendations opened, by rule."""
        self.dropped = 0
        self._settings = settings
        self._catalogue = catalogue
        self._frame_ms = frame_ms
        self._sharing = Sharing({}, ())
        self._seen_in: dict[str, str] = {}
        """Incidents in which others' recommendations were seen to hold in this interval, by recommendation."""
        self._patience_ms = _PATIENCE * settings.decide_after_frames * frame_ms

    def begin(self, frames: Mapping[str, Frame]) -> None:
        """Take a new interval, with all its frames by service."""
        self._sharing = Sharing(frames, self._catalogue.signals)
        self._seen_in = {}

    def steady(self, incident: OpenIncident, matches: Iterable[Match]) -> list[Match]:
        """Count how long each rule has matched; give those that have long enough, the surest of each thing."""
        found = {_streak(match): match for match in matches}
        incident.streaks = {name: incident.streaks.get(name, 0) + 1 for name in found}
        held = [match for name, match in found.items() if incident.streaks[name] >= self._needed(match)]
        held.sort(key=_surest_first)
        best: dict[str, Match] = {}
        for match in self._sharing.merged(held, self._told_of):
            best.setdefault(match.key, match)
        return list(best.values())

    def _told_of(self, match: Match) -> bool:
        """Whether a recommendation stands that is told of the match's service, not only shared by it."""
        standing = self._about(match)
        return standing is not None and standing.record.target.service == match.facts.service

    def _about(self, match: Match) -> Standing | None:
        """The open recommendation of what would be changed; where several stand, what was done goes first."""
        found = {each.record.id: each for key in match.keys if (each := self.board.about(key)) is not None}
        return min(found.values(), key=_longest_first, default=None)

    def _needed(self, match: Match) -> int:
        windows = self._settings.decide_after_frames
        return 2 * windows if match.entry.rule.tier is Tier.GENERIC else windows

    def wait(self, incident: OpenIncident, now: int) -> None:
        """Let time stand still for what is told of services that were not asked: whether it holds nobody knows."""
        for standing in self.board.of(incident.id):
            if standing.record.target.service in incident.silenced and not standing.undoes:
                standing.matched = min(now, standing.matched + self._frame_ms)

    def advise(self, incident: OpenIncident, matches: list[Match], now: int) -> None:
        """Bring the incident's recommendations up to date with the steady matches, surest first."""
        seen = self._see(incident, matches, now)
        chosen = [
            match for match in matches if self._is_new(match, incident, now) and self._make_room(incident, match, now)
        ]
        self._rank(incident, seen, chosen, now)

    def expire(self, now: int) -> None:
        """End what nobody answered in time, and what no longer has a reason."""
        for standing in self.board.expired(now):
            self.board.end(standing, RecommendationState.EXPIRED, now, "nobody answered in time")
        patience = self._settings.incident_gap_s * 1000.0
        for standing in self.board:
            passed = now - standing.matched
            if standing.waiting and passed > patience:
                gone = f"what it was to mend has been gone for {fmt.duration(passed / 1000.0)}"
                note = gone if standing.undoes else "its conditions no longer hold"
                self.board.end(standing, RecommendationState.EXPIRED, now, note)
        self.board.forget(now)

    def close(self, closed: Iterable[OpenIncident], now: int) -> None:
        """End what waits for an answer although its incident is over; what is applied is still verified.

        What holds in another incident as well is of that one from then on.
        """
        over = {incident.id for incident in closed}
        for standing in [each for identity in sorted(over) for each in self.board.of(identity)]:
            heir = self._seen_in.get(standing.record.id)
            if heir is not None and heir not in over:
                self.board.hand_over(standing, heir)
            elif standing.waiting and not standing.undoes:
                self.board.end(standing, RecommendationState.EXPIRED, now, "its incident is over")

    def adopt(self, younger: OpenIncident, older: OpenIncident) -> None:
        """Hand an incident's recommendations to the one it was merged into."""
        for standing in self.board.of(younger.id):
            self.board.hand_over(standing, older.id)

    def _see(self, incident: OpenIncident, matches: list[Match], now: int) -> dict[str, Match]:
        """Take note of what holds still; the matches by the recommendation that stands already."""
        seen: dict[str, Match] = {}
        for match in matches:
            standing = self._about(match)
            if standing is None:
                continue
            self._unite(match, standing, now)
            if standing.waiting:
                standing.see(match, now)
                seen[standing.record.id] = match
            if standing.incident != incident.id:
                self._see_elsewhere(incident, match, standing, now)
        return seen

    def _unite(self, match: Match, kept: Standing, now: int) -> None:
        """What turns out to be one thing needs no second recommendation."""
        for key in match.keys:
            other = self.board.about(key)
            if other is not None and other is not kept and other.waiting:
                self.board.end(other, RecommendationState.SUPERSEDED, now)

    def _see_elsewhere(self, incident: OpenIncident, match: Match, standing: Standing, now: int) -> None:
        """What is recommended in another incident explains this one too."""
        self._seen_in[standing.record.id] = incident.id
        _name(incident, standing)
        if match.entry.rule.tier is not Tier.GENERIC and match.facts.service not in incident.explained:
            self._explain(incident, match.facts.service, now)
        first = self.board.of(standing.incident)[0]
        self._refresh(standing, match, incident, _Place(standing.record.rank, first), now)

    def name(self, incidents: Iterable[OpenIncident]) -> None:
        """Let the incidents' records name all that stands for them, undos among it."""
        for incident in incidents:
            for standing in self.board.of(incident.id):
                _name(incident, standing)

    def _is_new(self, match: Match, incident: OpenIncident, now: int) -> bool:
        if match.entry.rule.tier is Tier.GENERIC and match.facts.service in incident.explained:
            return False  # what lingers is the aftermath of what was found
        if self._about(match) is not None:
            return False
        if any(self.board.about(undo_key(key)) is not None for key in match.keys):
            return False  # nobody is told to do what is to be taken back
        return not any(self.board.cooling(key, now) for key in match.keys)

    def _make_room(self, incident: OpenIncident, match: Match, now: int) -> bool:
        """Open the match's recommendation if there is room, or if it clearly beats one that waits."""
        mine = self.board.of(incident.id)
        if len(mine) >= MAX_CHOICES:
            weakest = min(
                (each for each in mine if each.waiting),
                key=lambda each: (
                    not self._stale(each, now),
                    not each.hindered,
                    each.record.confidence,
                    each.record.id,
                ),
                default=None,
            )
            if weakest is None:
                return False
            if not self._stale(weakest, now) and not _passes(match, weakest):
                return False
            self.board.end(weakest, RecommendationState.SUPERSEDED, now)
        elif len(self.board) >= self._settings.max_open_recommendations:
            self.dropped += 1
            return False
        self._open(incident, match, now)
        return True

    def _open(self, incident: OpenIncident, match: Match, now: int) -> None:
        moment = Moment(now, now + round(self._settings.expiry_s * 1000))
        last = len(self.board.of(incident.id)) + 1
        standing = Standing(
            record=draft(match, incident, self._catalogue, moment, last),
            incident=incident.id,
            onset=incident.opened,
            began=now - incident.streaks.get(_streak(match), 0) * self._frame_ms,
            matched=now,
            emitted=now,
            hindered=match.hindered,
        )
        standing.see(match, now)
        self.board.open(standing)
        rule = match.entry.rule
        self.opened[rule.id] = self.opened.get(rule.id, 0) + 1
        if rule.tier is not Tier.GENERIC:
            self._explain(incident, match.facts.service, now)
        _name(incident, standing)

    def _stale(self, standing: Standing, now: int) -> bool:
        """Whether it waits although its rule has not held for some time."""
        return standing.waiting and not standing.undoes and now - standing.matched > self._patience_ms

    def _explain(self, incident: OpenIncident, service: str, now: int) -> None:
        """Something specific was found: advice from symptoms alone steps back."""
        incident.explained = sorted({*incident.explained, service})
        for standing in self.board.of(incident.id):
            known = self._catalogue.by_id.get(standing.record.provenance.rule)
            generic = known is not None and known.rule.tier is Tier.GENERIC
            if generic and standing.waiting and standing.record.target.service == service:
                self.board.end(standing, RecommendationState.SUPERSEDED, now)

    def _rank(self, incident: OpenIncident, seen: Mapping[str, Match], chosen: list[Match], now: int) -> None:
        """Order, and write what changed or is due."""
        new = {match.key for match in chosen}
        mine = in_order(incident, self.board.of(incident.id))
        mine.sort(key=lambda each: (not each.undoes, each.waiting, self._stale(each, now), bool(each.hindered)))
        for rank, standing in enumerate(mine, start=1):
            if standing.key in new:
                standing.record = self._placed(standing, standing.record, _Place(rank, mine[0]), now)
                self.board.emit(standing, now)
            else:
                self._refresh(standing, seen.get(standing.record.id), incident, _Place(rank, mine[0]), now)

    def _refresh(
        self, standing: Standing, match: Match | None, incident: OpenIncident, place: _Place, now: int
    ) -> None:
        record, rank = standing.record, place.rank
        match = match if standing.waiting else None  # what was applied stays as it was when it was
        own = match if match is not None and match.facts.service == record.target.service else None
        graver = match is not None and incident.severity.rank > record.severity.rank
        spread = match is not None and not set(match.services) <= {*record.target.shared_by, record.target.service}
        behind = self._behind(standing, record, place, now)
        moved = rank != record.rank or not record.rank_reason.startswith(behind or "") or graver or spread
        told_s = (now - standing.emitted) / 1000.0
        turned = standing.turned > standing.emitted
        due = own is not None and (turned or told_s >= self._settings.update_every_s)
        if not (moved or due) or now < standing.held:
            return
        if own is not None:
            record = self._renewed(record, own, incident)
        if match is not None:
            record = self._shared(raise_severity(record, incident.severity), match)
        self.board.revise(standing, self._placed(standing, record, place, now))
        self.board.emit(standing, now)

    def _renewed(self, record: Recommendation, match: Match, incident: OpenIncident) -> Recommendation:
        fresh = redraft(record, match, incident, self._catalogue)
        if not _alike(record.change, fresh.change):
            return fresh
        return record.model_copy(
            update={
                "why": fresh.why,
                "confidence": fresh.confidence,
                "provenance": fresh.provenance,
            }
        )

    def _placed(self, standing: Standing, record: Recommendation, place: _Place, now: int) -> Recommendation:
        """The record with its rank, and why it is not the first."""
        behind = self._behind(standing, record, place, now)
        detail = {
            Behind.STALE: f": its own conditions have not held for {fmt.duration((now - standing.matched) / 1000.0)}",
            Behind.HINDERED: f": {standing.hindered}, a reason to take this change back",
            Behind.LATER: _figures(record, place.first),
            Behind.LESS_SURE: _figures(record, place.first) + (f": {standing.weakest}" if standing.weakest else ""),
        }
        reason = "" if behind is None else f"{behind}{detail.get(behind, '')}"
        return record.model_copy(update={"rank": place.rank, "rank_reason": reason})

    def _behind(self, standing: Standing, record: Recommendation, place: _Place, now: int) -> Behind | None:
        """What keeps it from the first place: the first of what the order goes by in which the two differ."""
        first = place.first
        if place.rank == 1:
            return None
        if first.undoes and not standing.undoes:
            return Behind.UNDO
        if standing.waiting and not first.waiting:
            return Behind.APPLIED
        if self._stale(standing, now) and not self._stale(first, now):
            return Behind.STALE
        if standing.hindered and not first.hindered:
            return Behind.HINDERED
        return Behind.LATER if record.confidence >= first.record.confidence else Behind.LESS_SURE

    def _shared(self, record: Recommendation, match: Match) -> Recommendation:
        """The record for all that share what would be changed now; who was not heard of in this interval stays."""
        target = record.target
        silent = [service for service in target.shared_by if not self._sharing.heard(service)]
        services = sorted({*match.services, *silent})
        if services in (target.shared_by, [target.service]):
            return record
        return record.model_copy(update={"target": target.model_copy(update={"shared_by": services})})


class _Place(NamedTuple):
    """Where a recommendation stands among those of its incident."""

    rank: int
    first: Standing


def _figures(record: Recommendation, first: Standing) -> str:
    return f" ({record.confidence:.2f} against {first.record.confidence:.2f})"


def _passes(match: Match, standing: Standing) -> bool:
    """Whether a newcomer takes the place of one that stands: it alone can be done now, or it is clearly surer."""
    if bool(match.hindered) is not bool(standing.hindered):
        return not match.hindered
    return match.confidence > CLEARLY * standing.record.confidence


def _name(incident: OpenIncident, standing: Standing) -> None:
    """Let the incident's record name it."""
    if standing.record.id not in incident.recommendations:
        incident.recommendations.append(standing.record.id)
        incident.changed = True


def _longest_first(standing: Standing) -> tuple[bool, datetime, str]:
    return standing.waiting, standing.record.created, standing.record.id


def _streak(match: Match) -> str:
    """The name under which an incident counts how long a rule has held for a service."""
    return f"{match.facts.service}\x1f{match.entry.rule.id}"


def _surest_first(match: Match) -> tuple[bool, float, str, str]:
    """What can be done now goes first."""
    return bool(match.hindered), -match.confidence, match.facts.service, match.entry.rule.id


def _alike(old: Change, new: Change) -> bool:
    """Whether the standing change may stay as it is: same start, and an end that is about the same."""
    if old.current != new.current:
        return False
    if isinstance(old.recommended, float) and isinstance(new.recommended, float):
        return abs(new.recommended - old.recommended) <= _HYSTERESIS * abs(old.recommended)
    return old.recommended == new.recommended
