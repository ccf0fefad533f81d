"""A lab's samples through the three real stages, connected in memory, and what they advise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lab.clock import SCRAPE_S
from lab.configuration import scaled_config
from lab.samples import history, to_recording
from pipeline.offline.flow import LocalFlow
from pipeline.offline.recording_backtest import message
from pipeline.records import ChangeEvent, Feedback, MaintenanceWindow, cloudevent_headers, content_id, from_ms
from pipeline.settings import load_settings
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lab.samples import Row

_ROWS = 16_384


class Advice:
    """Takes scrapes; `recommendations` are the newest record of each by id, in the order in which they appeared."""

    def __init__(self, healthy: Sequence[Row]) -> None:
        with scaled_config() as folder:
            settings = load_settings(overrides={"detect.frame_s": SCRAPE_S, "config_dir": folder})
            self._flow = LocalFlow(settings)
        self.recommendations: dict[str, dict[str, Any]] = {}
        self.outcomes: list[dict[str, Any]] = []
        self.early: frozenset[str] = frozenset()
        self.take([*history(healthy, round(SCRAPE_S * 1000)), *healthy])
        self.end_healthy()

    def end_healthy(self) -> None:
        """What was recommended so far were false alarms."""
        self.early = frozenset(self.recommendations)

    def take(self, rows: Sequence[Row]) -> None:
        """Samples in order of time."""
        recording = to_recording(rows)
        for begin in range(0, len(recording), _ROWS):
            self._keep(self._flow.publish([message(recording, begin, min(begin + _ROWS, len(recording)))]))

    def first(self) -> dict[str, Any] | None:
        """The first choice, once there is one: the first recommendation of rank 1 since the healthy phase."""
        return next((one for one in self.since_healthy() if one["rank"] == 1), None)

    def since_healthy(self) -> list[dict[str, Any]]:
        """Recommendations that came after the healthy phase; those of the phase itself are false alarms."""
        return [one for key, one in self.recommendations.items() if key not in self.early]

    def outcome(self, recommendation: str) -> dict[str, Any] | None:
        """What came of a recommendation, once that is known."""
        return next((one for one in self.outcomes if one["recommendation"] == recommendation), None)

    def standing(self) -> int:
        """First choices that are open at the moment, whatever became of earlier ones."""
        open_ones = ("proposed", "acknowledged", "applied")
        return sum(one["rank"] == 1 and one["state"] in open_ones for one in self.recommendations.values())

    def deployed(self, service: str, at: int) -> None:
        """Tell of a deploy at that moment (ms)."""
        change = ChangeEvent(
            id=content_id("lab", "deploy", at),
            at=from_ms(at),
            service=service,
            version="2",
            previous_version="1",
            by="lab",
        )
        self._say(change, at)

    def maintenance(self, start: int, end: int) -> None:
        """Tell of a maintenance window of all services (ms)."""
        window = MaintenanceWindow(
            id=content_id("lab", "window", start),
            at=from_ms(start),
            start=from_ms(start),
            end=from_ms(end),
            reason="a load test",
        )
        self._say(window, start)

    def applied(self, recommendation: str, at: int) -> None:
        """Tell that a recommendation was applied at that moment (ms)."""
        said = Feedback(
            id=content_id("lab", recommendation),
            at=from_ms(at),
            recommendation=recommendation,
            verdict="applied",
            by="lab",
        )
        self._say(said, at)

    def _say(self, record: ChangeEvent | Feedback | MaintenanceWindow, at: int) -> None:
        headers = tuple(cloudevent_headers(record.event_type(), "/duri/lab", record.id, at))
        value = record.model_dump_json().encode()
        self._keep(self._flow.publish([Output(topic=Topic.CONTROL, value=value, timestamp=at, headers=headers)]))

    def _keep(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if output.topic is Topic.RECOMMENDATIONS:
                record = json.loads(output.value)
                self.recommendations[record["id"]] = record
            elif output.topic is Topic.OUTCOMES:
                self.outcomes.append(json.loads(output.value))
