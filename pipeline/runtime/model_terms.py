"""On which a trained model may run under these settings; apart from the stages, which are slow to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.registry.admission import Terms
from pipeline.signals.definitions import load_definitions

if TYPE_CHECKING:
    from pipeline.settings import Settings


def admission_terms(settings: Settings) -> Terms:
    """The signals there are, and the limits. Raises SettingsError."""
    signals = load_definitions(settings.config_dir).signals
    return Terms(frozenset(signals), settings.models.budget_ms, settings.models.max_bytes)
