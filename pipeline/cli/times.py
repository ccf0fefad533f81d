"""Durations and moments as people write them on a command line: 15s, 2h, 7d, 2026-01-31T12:00:00Z."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import typer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def parse_duration(text: str, option: str) -> float:
    """Seconds of `15s`, `500ms`, `2h`, `7d`, `1w`. Raises typer.BadParameter that names the option."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration: give one like 15s, 5m, 2h or 7d", param_hint=option)
    return float(match[1]) * _UNITS[match[2]]


def parse_moment(text: str, now_ms: int, option: str) -> int:
    """Ms since 1970 of `now`, a duration before now (`7d`), or ISO 8601 (UTC where it names no zone).

    Raises typer.BadParameter that names the option.
    """
    if text == "now":
        return now_ms
    if _DURATION.fullmatch(text.strip()):
        return now_ms - round(parse_duration(text, option) * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None:
        raise typer.BadParameter(
            f"{text!r} is no time: give one like 2026-01-31T12:00:00Z, or 7d for seven days ago", param_hint=option
        )
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
