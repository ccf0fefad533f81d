"""Which service a series belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.settings import IngestSettings

KEY_AS_SERVICE = "@key"


def service_of(labels: Mapping[str, str], key: bytes | None, settings: IngestSettings) -> str:
    """The first of `ingest.service_labels` that the labels have; `@key` is the message's key."""
    for label in settings.service_labels:
        by_key = label == KEY_AS_SERVICE
        service = (key or b"").decode("utf-8", "replace") if by_key else labels.get(label, "")
        if service:
            return service
    return settings.default_service
