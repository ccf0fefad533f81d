"""Values, times and durations as people read them: 720 ms, 95 %, 512 MiB, 1 h 20 min."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

NOTHING = "-"
_REMARK = re.compile(r"\{[^}]*\}")
_DECIMAL = ("", "k", "M", "G", "T", "P")
_PERIODS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def value(number: float | str | None, unit: str = "") -> str:
    """A number in its UCUM unit: `s`, `By`, `1` (a ratio), `%`, `…/s`; others follow the number as they are.

    What UCUM has in braces is a remark, like {connection}, and is left out: the signal's name says it.
    """
    if number is None:
        return NOTHING
    if isinstance(number, str):
        return number
    if not math.isfinite(number):
        return str(number)
    if unit.endswith("/s"):
        return f"{value(number, 'By' if unit == 'By/s' else '')}/s"
    written = {"s": seconds, "By": octets, "1": percent}.get(unit)
    if written is not None:
        return written(number)
    return f"{compact(number)} {_REMARK.sub('', unit)}".rstrip()


def compact(number: float) -> str:
    """Three significant digits and thousands as k, M, G; whole numbers below a million in full: 4.57 k, 4 570."""
    if abs(number) < 999_500 and number == round(number):
        return f"{number:,.0f}".replace(",", " ")
    return scaled(number)


def scaled(number: float) -> str:
    """Three significant digits, thousands as k, M, G: 12.3, 4.57 k, 1.98 M."""
    return _scaled(number, 1000.0, _DECIMAL).rstrip()


def seconds(number: float) -> str:
    """Microseconds to days: 350 µs, 720 ms, 2.3 s, 1 h 20 min."""
    size = abs(number)
    if size == 0:
        return "0 s"
    if size < 0.9995e-3:
        return f"{_three(number * 1e6)} µs"
    if size < 0.9995:
        return f"{_three(number * 1e3)} ms"
    if size < 120:
        return f"{_three(number)} s"
    return duration(number)


def duration(number: float) -> str:
    """The two largest parts of a duration in seconds: 45 s, 35 min, 1 h 20 min, 2 d 3 h."""
    sign, left = ("-" if number < 0 else ""), round(abs(number))
    for place, (name, size) in enumerate(_PERIODS):
        if left >= size:
            whole, rest = divmod(left, size)
            smaller = _PERIODS[place + 1 : place + 2]
            # Seconds beside minutes are noise from ten minutes on.
            if smaller and not (name == "min" and whole >= 10):
                part, part_size = smaller[0]
                if rest // part_size:
                    return f"{sign}{whole} {name} {rest // part_size} {part}"
            return f"{sign}{whole} {name}"
    return "0 s"


def octets(number: float) -> str:
    """Bytes: decimal (644 MB), but binary where it is a round binary size, as limits are (512 MiB, 1 GiB)."""
    if number > 0 and number % (1 << 20) == 0:
        whole, unit = number / (1 << 20), "MiB"
        if whole >= 1024 and whole % 256 == 0:
            whole, unit = whole / 1024, "GiB"
        return f"{whole:g} {unit}"
    return f"{_scaled(number, 1000.0, _DECIMAL)}B" if abs(number) >= 999.5 else f"{_three(number)} B"


def percent(ratio: float) -> str:
    """A ratio of 1 as percent: 95 %, 0.12 %."""
    number = ratio * 100
    return f"{number:.0f} %" if abs(number) >= 9.95 else f"{_three(float(f'{number:.2g}'))} %"


def clock(moment: datetime) -> str:
    """Day of the week and time: Tue 13:25."""
    return f"{moment:%a %H:%M}"


def date_time(moment: datetime) -> str:
    """Date and time to the minute: 2025-01-07 13:25."""
    return f"{moment:%Y-%m-%d %H:%M}"


def count(number: float, noun: str) -> str:
    """A number with its noun in the right form: 1 anomaly, 2 anomalies."""
    whole = round(number)
    plural = noun[:-1] + "ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else noun + "s"
    return f"{compact(whole)} {noun if whole == 1 else plural}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    *others, last = names or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _three(number: float) -> str:
    """Three significant digits without an exponent and without closing zeros."""
    if number == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(number))))
    if places > 6:
        return f"{number:.2g}"
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(number: float, base: float, prefixes: tuple[str, ...]) -> str:
    place = 0
    while abs(number) >= base * 0.9995 and place < len(prefixes) - 1:
        number /= base
        place += 1
    return f"{_three(number)} {prefixes[place]}"
