"""Units of measurement and what turns one into another; written as UCUM has them, and as producers write them."""

from __future__ import annotations

_TIME, _DATA, _SHARE = "time", "data", "share"
_UNITS: dict[str, tuple[str, float]] = {
    "ns": (_TIME, 1e-9),
    "us": (_TIME, 1e-6),
    "ms": (_TIME, 1e-3),
    "s": (_TIME, 1.0),
    "min": (_TIME, 60.0),
    "h": (_TIME, 3600.0),
    "d": (_TIME, 86_400.0),
    "bit": (_DATA, 0.125),
    "By": (_DATA, 1.0),
    **{f"{prefix}{byte}": (_DATA, 1e3) for prefix in "kK" for byte in ("By", "B")},
    **{f"M{byte}": (_DATA, 1e6) for byte in ("By", "B")},
    **{f"G{byte}": (_DATA, 1e9) for byte in ("By", "B")},
    **{f"{prefix}i{byte}": (_DATA, 1024.0**n) for n, prefix in enumerate("KMGT", 1) for byte in ("By", "B")},
    "1": (_SHARE, 1.0),
    "%": (_SHARE, 0.01),
}
KNOWN = tuple(_UNITS)


def factor(unit: str, wanted: str) -> float | None:
    """What a number in `unit` is multiplied by to be in `wanted`; None where one is unknown or they do not compare."""
    if unit not in _UNITS or wanted not in _UNITS:
        return None
    (kind, size), (wanted_kind, wanted_size) = _UNITS[unit], _UNITS[wanted]
    return size / wanted_size if kind == wanted_kind else None
