"""The life of an anomaly: opened once, updated when it gets worse, closed when nothing fires any more.

    (none) --fires--> opened --worse, joined, or a while later--> updated --silent for `close_after`--> closed
                                                                  or all that fires says: the new normal

One record a state change; a detector that comes and goes within an anomaly causes none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pipeline.detect.anomalies.opened import Contributing, Fired, Open, anomaly_record
from pipeline.errors import StateError
from pipeline.records import (
    Anomaly,
    AnomalyState,
    ClosedBecause,
    Provenance,
    Ranked,
    Severity,
    content_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.detect.frame import Flag

RECENT = 60


class Key(NamedTuple):
    """What an anomaly is about: `entity` is empty for a signal, the series' identity for a raw series."""

    service: str
    signal: str
    entity: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """A value at a time (ms), and what was expected; NaN where there is none."""

    at: int
    value: float = math.nan
    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan

    @property
    def deviation(self) -> float:
        """Distance from the expectation; NaN without one."""
        return self.value - self.expected


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """Durations in ms, and the bound on open anomalies."""

    close_after: int
    update_every: int
    max_open: int


class Anomalies:
    """All open anomalies of one partition."""

    def __init__(
        self,
        settings: LifecycleSettings,
        model_version: str,
        rank: Callable[[Sequence[Anomaly]], Sequence[Ranked | None]] = lambda opened: [None] * len(opened),
    ) -> None:
        """`rank` is asked once of each anomaly, with the record with which it opens (see `ranked`)."""
        self._settings = settings
        self._rank = rank
        self._model_version = model_version
        self._open: dict[Key, Open] = {}
        self._by_service: dict[str, dict[Key, Open]] = {}
        self._new: list[Open] = []
        self.refused = 0

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: Key) -> bool:
        return key in self._open

    def of(self, service: str) -> Sequence[Open]:
        """Open anomalies of a service, in the order in which they opened."""
        return list(self._by_service.get(service, {}).values())

    def keys_of(self, service: str) -> list[Key]:
        """Keys of the open anomalies of a service."""
        return list(self._by_service.get(service, {}))

    def fire(
        self,
        key: Key,
        flags: Sequence[Flag],
        observation: Observation,
        about: About,
    ) -> Anomaly | None:
        """These detectors fire; the record to publish once it is `ranked`, if the state changed."""
        now = self._open.get(key)
        if now is None:
            if len(self._open) >= self._settings.max_open:
                self.refused += 1
                return None
            now = self._begin(key, flags, observation, about)
            self._new.append(now)
            return self._report(now, AnomalyState.OPENED, observation.at)
        self._continue(now, flags, observation)
        if all(flag.settled for flag in flags):
            return self._close(now, observation.at, because="new_normal")
        due = observation.at - now.reported >= self._settings.update_every
        worse = now.severity.rank > now.reported_severity.rank
        if due or worse or len(now.fired) > now.reported_fired:
            return self._report(now, AnomalyState.UPDATED, observation.at)
        return None

    def ranked(self, changed: Sequence[Anomaly]) -> Sequence[Anomaly]:
        """These records, all state changes since this was last asked; what has opened says how likely it matters.

        The ranker is asked once for all of them: what it takes is hardly more for many than for one.
        """
        new, self._new = self._new, []
        if not new:
            return changed
        opened = [one for one in changed if one.state is AnomalyState.OPENED]
        for now, ranked in zip(new, self._rank(opened), strict=True):
            now.ranked = ranked
        said = {now.id: now.ranked for now in new}
        return [one.model_copy(update={"ranked": said[one.id]}) if one.id in said else one for one in changed]

    def rest(self, key: Key, observation: Observation) -> Anomaly | None:
        """Nothing fires here now; the closing record once that has lasted."""
        now = self._open.get(key)
        if now is None:
            return None
        _remember(now, observation)
        if observation.at - now.last < self._settings.close_after:
            return None
        return self._close(now, observation.at, because=_why_closed(now))

    def gone(self, key: Key, at: int) -> Anomaly | None:
        """The series or service is gone."""
        now = self._open.get(key)
        return None if now is None else self._close(now, at, because="series_gone")

    def _begin(self, key: Key, flags: Sequence[Flag], observation: Observation, about: About) -> Open:
        now = Open(
            id=content_id(*key, observation.at),
            service=key.service,
            signal=key.signal,
            entity=key.entity,
            labels=about.labels,
            unit=about.unit,
            opened=observation.at,
            last=observation.at,
            severity=max((flag.severity for flag in flags), key=lambda severity: severity.rank),
            fired=[],
            observed=observation.value,
            expected=observation.expected,
            lower=observation.lower,
            upper=observation.upper,
            normal=observation.expected,
            latest=observation.value,
            recent=list(about.recent)[-RECENT:],
            provenance=about.provenance,
            reported=observation.at,
            reported_severity=Severity.INFO,
            reported_fired=0,
        )
        self._continue(now, flags, observation)
        self._open[key] = now
        self._by_service.setdefault(key.service, {})[key] = now
        return now

    def _continue(self, now: Open, flags: Sequence[Flag], observation: Observation) -> None:
        _remember(now, observation)
        now.last = observation.at
        for flag in flags:
            _join(now, flag, observation.at)
            _note_contributors(now, flag)
        now.severity = max((fired.severity for fired in now.fired), key=lambda severity: severity.rank)
        self._note_severity(now, observation.at)
        if math.isnan(observation.value):
            return
        further = abs(observation.deviation) > abs(now.observed - now.expected)
        if further or math.isnan(now.expected) or math.isnan(now.observed):
            now.observed, now.expected = observation.value, observation.expected
            now.lower, now.upper = observation.lower, observation.upper

    def _note_severity(self, now: Open, at: int) -> None:
        """What is worth knowing alone may go on long before something worse fires, and long after it."""
        lately = (fired.severity for fired in now.fired if at - fired.last < self._settings.close_after)
        now.present_severity = max(lately, key=lambda severity: severity.rank)
        if now.present_severity is Severity.INFO:
            now.serious_since = None
        elif now.serious_since is None:
            now.serious_since = at

    def _report(self, now: Open, state: AnomalyState, at: int) -> Anomaly:
        now.reported, now.reported_severity, now.reported_fired = at, now.severity, len(now.fired)
        return anomaly_record(now, state, self._model_version)

    def _close(self, now: Open, at: int, *, because: ClosedBecause) -> Anomaly:
        key = Key(now.service, now.signal, now.entity)
        del self._open[key]
        siblings = self._by_service[key.service]
        del siblings[key]
        if not siblings:
            del self._by_service[key.service]
        return anomaly_record(now, AnomalyState.CLOSED, self._model_version, closed=at, because=because)

    def snapshot(self) -> bytes:
        """Copy of the whole state."""
        return msgspec.msgpack.encode([self.refused, list(self._open.values())], enc_hook=_encode_hook)

    def restore(self, state: bytes) -> None:
        """Become what gave this snapshot. Raises StateError where it does not fit."""
        try:
            refused, opened = msgspec.msgpack.decode(state, type=tuple[int, list[Open]], dec_hook=_decode_hook)
        except msgspec.DecodeError as error:
            raise StateError(f"open anomalies: {error}") from error
        self.refused = refused
        self._open = {Key(now.service, now.signal, now.entity): now for now in opened}
        self._by_service = {}
        for key, now in self._open.items():
            self._by_service.setdefault(key.service, {})[key] = now


@dataclass(frozen=True, slots=True)
class About:
    """What a new anomaly says of its signal or series."""

    unit: str
    labels: dict[str, str]
    provenance: Provenance
    recent: Sequence[float] = ()


def _remember(now: Open, observation: Observation) -> None:
    now.latest = observation.value
    now.recent.append(observation.value)
    del now.recent[:-RECENT]


def _note_contributors(now: Open, flag: Flag) -> None:
    if flag.contributors and flag.score >= now.contributed:
        now.contributed = flag.score
        now.contributors = [Contributing(*one) for one in flag.contributors]


def _join(now: Open, flag: Flag, at: int) -> None:
    for fired in now.fired:
        if fired.detector is flag.detector and fired.rule == flag.rule:
            # A rule that ended and holds again; learners do not know since when, they say "now".
            if fired.last < flag.since < at:
                fired.since = flag.since
            fired.last = at
            fired.score = max(fired.score, flag.score)
            fired.shape = _shape_name(flag) or fired.shape
            if flag.severity.rank > fired.severity.rank:
                fired.severity = flag.severity
            return
    now.fired.append(
        Fired(
            detector=flag.detector,
            rule=flag.rule,
            severity=flag.severity,
            score=flag.score,
            since=flag.since,
            first=at,
            last=at,
            threshold=flag.threshold,
            shape=_shape_name(flag),
        )
    )


def _shape_name(flag: Flag) -> str | None:
    return flag.shape.name.lower() if flag.shape else None


def _why_closed(now: Open) -> ClosedBecause:
    """Recovered where the value ended nearer to what was normal than to the worst."""
    back = abs(now.latest - now.normal)
    return "new_normal" if back > abs(now.observed - now.latest) else "recovered"


def _encode_hook(value: object) -> object:
    if isinstance(value, Provenance | Ranked):
        return value.model_dump()
    raise NotImplementedError(f"snapshots do not hold {type(value).__name__}")


def _decode_hook(wanted: type, value: object) -> object:
    if wanted is Provenance:
        return Provenance.model_validate(value)
    if wanted is Ranked:
        return Ranked.model_validate(value)
    raise NotImplementedError(f"snapshots do not hold {wanted.__name__}")
