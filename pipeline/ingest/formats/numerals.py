"""Numbers that formats write as text, as Go and Prometheus spell them."""

from __future__ import annotations

import re

from pipeline.errors import DecodeError

_NUMERAL = re.compile(r"[-+]?(?:\d++\.?\d*+|\.\d++)(?:e[-+]?\d++)?+|[-+]?inf(?:inity)?|nan", re.ASCII | re.IGNORECASE)


def to_float(text: str) -> float:
    """A decimal number, `NaN` or `±Inf`, rounded as IEEE 754 says. Raises DecodeError (reason `fields`)."""
    # Python reads more than that: underscores, blanks, digits of other scripts.
    if not _NUMERAL.fullmatch(text):
        raise DecodeError(f"{text[:40]!r} is not a number", reason="fields")
    return float(text)
