"""A lab's samples through the three real stages, connected in memory, and what they advise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lab.announcements import headers_of
from lab.clock import SCRAPE_S
from lab.configuration import scaled_config
from lab.ledger import Ledger
from lab.samples import history, to_recording
from pipeline.offline.flow import LocalFlow
from pipeline.offline.recording_backtest import message
from pipeline.settings import load_settings
from pipeline.stage import Output, Topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab.announcements import Announcement
    from lab.samples import Row
    from lab.scenarios import Scenario

ROWS = 16_384
"""Samples of a message at most."""
_SAID = (Topic.RECOMMENDATIONS, Topic.OUTCOMES)


class Advice(Ledger):
    """Takes scrapes and announcements, and keeps what the stages say."""

    def __init__(self, scenario: Scenario, healthy: Sequence[Row]) -> None:
        super().__init__()
        with scaled_config(scenario) as folder:
            settings = load_settings(overrides={"detect.frame_s": SCRAPE_S, "config_dir": folder})
            self._flow = LocalFlow(settings)
        self.take([*history(healthy, round(SCRAPE_S * 1000)), *healthy])
        self.end_healthy()

    def take(self, rows: Sequence[Row]) -> None:
        """Samples in order of time."""
        recording = to_recording(rows)
        for begin in range(0, len(recording), ROWS):
            self._publish(message(recording, begin, min(begin + ROWS, len(recording))))

    def tell(self, record: Announcement, at: int) -> None:
        """Something that people or tools announce, at that moment (ms)."""
        value = record.model_dump_json().encode()
        headers = tuple(headers_of(record, at))
        self._publish(Output(topic=Topic.CONTROL, value=value, timestamp=at, headers=headers))

    def _publish(self, published: Output) -> None:
        for output in self._flow.publish([published]):
            if output.topic in _SAID:
                self.keep(output.topic, json.loads(output.value))
            elif output.topic is Topic.FRAMES:
                self.note(output)
