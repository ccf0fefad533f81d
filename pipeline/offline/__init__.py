"""Offline: datasets, and the live stages over recorded data, without Kafka.

from pipeline.offline import Dataset, Selection
"""

from __future__ import annotations

import importlib
from typing import Any

_PLACES = {
    "Cube": "pipeline.offline.dataset.reading",
    "Dataset": "pipeline.offline.dataset.reading",
    "Question": "pipeline.offline.training.registered",
    "Selection": "pipeline.offline.dataset.reading",
    "Span": "pipeline.offline.dataset.times",
    "Workers": "pipeline.offline.backends",
    "backtest": "pipeline.offline.dataset_backtest",
    "evaluate": "pipeline.offline.training.registered",
    "train": "pipeline.offline.training.train",
}

__all__ = ["Cube", "Dataset", "Question", "Selection", "Span", "Workers", "backtest", "evaluate", "train"]


def __getattr__(name: str) -> Any:
    """The interface is imported when it is asked for: commands that need none of it start quickly."""
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
