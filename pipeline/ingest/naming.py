"""Labels that name a series: which service it belongs to, and that none is given twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.settings import IngestSettings

KEY_AS_SERVICE = "@key"


def service_of(labels: Mapping[str, str], key: bytes | None, settings: IngestSettings) -> str:
    """The first of `ingest.service_labels` that the labels have; `@key` is the message's key, where it is text."""
    for label in settings.service_labels:
        service = _as_text(key) if label == KEY_AS_SERVICE else labels.get(label, "")
        if service:
            return service
    return settings.default_service


def _as_text(key: bytes | None) -> str:
    """The key, or nothing where it is no name: OpenTelemetry's exporter can write a hash there to spread resources."""
    try:
        text = (key or b"").decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def comes_twice(label: str) -> DecodeError:
    """The refusal of labels of which one is given twice: which of two values counts, nobody can say."""
    return DecodeError(f"label {label[:80]!r} comes twice", reason="labels")
