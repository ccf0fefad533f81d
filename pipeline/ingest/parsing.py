"""JSON into typed objects, every way of failing turned into a DecodeError."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from pipeline.errors import DecodeError

Decoded = TypeVar("Decoded")


def parse_json(
    decoder: msgspec.json.Decoder[Decoded], data: bytes | msgspec.Raw, what: str, *, reason: str | None = None
) -> Decoded:
    """Decode; raises DecodeError "not <what>: …" with reason `fields` or `syntax` where none is given."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise DecodeError(f"not {what}: {error}", reason=reason or "fields") from error
    # Invalid UTF-8 inside a text and bottomless nesting have their own exceptions.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        told = _several(data, error) or str(error)
        raise DecodeError(f"not {what}: {told}", reason=reason or "syntax") from error


_OBJECT = re.compile(rb"\s*+\{")
_AFTER_THE_END = re.compile(r"trailing characters \(byte (\d+)\)")


def _several(data: bytes | msgspec.Raw, error: Exception) -> str | None:
    """What to say of objects that follow one another in one message, as lines of JSON do; None of other mistakes."""
    after = _AFTER_THE_END.search(str(error))
    if after is None or _OBJECT.match(bytes(data), int(after[1]) - 1) is None:
        return None
    return (
        f"several JSON objects follow one another in one message, the second at byte {after[1]}; "
        "send each as a message, or JSON samples as an array or columnar"
    )


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def has_keys(payload: bytes, *keys: str) -> bool:
    """Whether this is a JSON object with all of these keys, whatever their values."""
    # Neither is a text searched, nor an object parsed, for nothing.
    if _OBJECT.match(payload) is None or not all(f'"{key}"'.encode() in payload for key in keys):
        return False
    try:
        members = _members.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return all(key in members for key in keys)
