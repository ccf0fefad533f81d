"""Records of the advise stage as outputs: JSON with CloudEvents headers, keyed by service or system."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeline.records import (
    Incident,
    IncidentState,
    Muting,
    Outcome,
    Recommendation,
    Suspect,
    cloudevent_headers,
    content_id,
    from_ms,
)
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.advise.incidents.incident import OpenIncident
    from pipeline.advise.outcomes.standing import Board
    from pipeline.records import RunsOut


class Around(NamedTuple):
    """What an incident's record says beside the incident."""

    changes: Sequence[str] = ()
    """Ids of change events shortly before it."""
    runs_out: Sequence[RunsOut] = ()


class Reporter:
    """Collects what is to be written, in order."""

    def __init__(self, source: str) -> None:
        self.outcomes: dict[str, int] = {}
        """Outcomes written, by result."""
        self._source = source
        self._outputs: list[Output] = []

    def flush(self) -> list[Output]:
        """What was collected; the collection is empty then."""
        outputs, self._outputs = self._outputs, []
        return outputs

    def drain(self, board: Board) -> None:
        """Take what the board has to write."""
        for now, record in board.outbox:
            if isinstance(record, Recommendation):
                self._write(Topic.RECOMMENDATIONS, record, record.target.service, now)
            elif isinstance(record, Muting):
                self._write(Topic.OUTCOMES, record, record.service, now)
            else:
                self.outcomes[record.result] = self.outcomes.get(record.result, 0) + 1
                self._write(Topic.OUTCOMES, record, record.service, now)
        board.outbox.clear()

    def incident(self, incident: OpenIncident, around: Around, now: int, *, over: bool) -> None:
        """Write the incident as it is now."""
        state = IncidentState.UPDATED if incident.announced else IncidentState.OPENED
        if over:
            state = IncidentState.CLOSED
        self._incident(incident, state, around, now, _summary(incident, over=over))
        incident.announced, incident.changed = True, False

    def merged(self, younger: OpenIncident, older: OpenIncident, now: int) -> None:
        """Write that an incident became part of another."""
        self._incident(younger, IncidentState.CLOSED, Around(), now, f"Part of incident {older.id} now")

    def _incident(self, incident: OpenIncident, state: IncidentState, around: Around, now: int, summary: str) -> None:
        record = Incident(
            id=incident.id,
            state=state,
            severity=incident.severity,
            system=incident.system,
            services=incident.services,
            cause=incident.cause,
            certainty=round(incident.certainty, 4),
            suspects=[Suspect(service=service, share=share) for service, share in incident.shares.items()],
            summary=summary,
            opened_at=from_ms(incident.opened),
            last_at=from_ms(incident.last),
            closed_at=from_ms(now) if state is IncidentState.CLOSED else None,
            anomalies=incident.anomalies,
            worth_knowing=incident.worth_knowing,
            changes=list(around.changes),
            runs_out=list(around.runs_out),
            recommendations=incident.recommendations,
            known_reasons=incident.known,
        )
        self._write(Topic.INCIDENTS, record, incident.system, now)

    def _write(self, topic: Topic, record: Incident | Recommendation | Outcome | Muting, key: str, now: int) -> None:
        value = record.model_dump_json().encode()
        identity = content_id(record.id, now, value)
        self._outputs.append(
            Output(
                topic=topic,
                value=value,
                timestamp=now,
                key=key.encode(),
                headers=cloudevent_headers(record.event_type(), self._source, identity, now),
            )
        )


def _summary(incident: OpenIncident, *, over: bool) -> str:
    others = len(incident.services) - 1
    where = f" and {others} more" if others > 0 else ""
    text = f"{incident.cause}{where}: {incident.headline}"
    if over and incident.heard <= incident.last:
        return f"{text}; closed without a recovery seen: its services sent no data any more"
    if over:
        return f"{text}; over"
    return text if incident.decided else f"{text}; cause not decided yet"
