"""The environment variables that set something: which there are, and what is wrong with them."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final, cast, get_origin

from pipeline.configfile import nearest
from pipeline.errors import SettingsError
from pipeline.settings.section import Section
from pipeline.settings.whole import ENVIRONMENT_PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

_OTHER_VARIABLES: Final = ("DURI_BOOTSTRAP", "DURI_CACHE", "DURI_NAB")
"""Variables that are no settings: the short form of an address, the folder of downloads, the tests' data."""
# Kubernetes gives every container the addresses of the services around it; one may be called duri-something.
_KUBERNETES: Final = re.compile(r"DURI_(.+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
_KUBERNETES_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")
_FORMS: Final = {list: '["first", "second"]', dict: '{"name": "value"}'}


def _variables() -> Iterator[tuple[str, Any]]:
    """Every variable that is a setting, with its type."""
    yield from _variables_of(Settings, ENVIRONMENT_PREFIX)


def _variables_of(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in section.model_fields.items():
        variable = f"{prefix}{name}".upper()
        kind: Any = field.annotation
        yield variable, kind
        if _is_section(kind):
            yield from _variables_of(kind, f"{variable}__")


def keys_beside(location: Sequence[int | str]) -> list[str]:
    """The keys of the section in which this one stands; none where there is no such section."""
    section: type[BaseModel] = Settings
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        if field is None or not _is_section(field.annotation):
            return []
        section = cast("type[BaseModel]", field.annotation)
    return list(section.model_fields)


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def refuse_unknown_variables() -> None:
    """A misspelt variable is a setting that does nothing. Raises SettingsError."""
    known = dict(_variables())
    tables = tuple(f"{name}__" for name, kind in known.items() if get_origin(kind) is dict)
    mistakes = []
    for variable, value in sorted(os.environ.items()):
        name = variable.upper()
        if not name.startswith(ENVIRONMENT_PREFIX) or name in known or name in _OTHER_VARIABLES:
            continue
        if name.startswith(tables) or _KUBERNETES.fullmatch(name) or _KUBERNETES_ADDRESS.match(value):
            continue
        hint = nearest(name, [*known, *_OTHER_VARIABLES])
        mistakes.append(
            f"environment variable {variable}: no setting is called so{hint or '; see `duri schema settings`'}"
        )
    if mistakes:
        raise SettingsError("\n".join(mistakes))


def no_json() -> Iterator[str]:
    """One line a variable that has to be JSON and is not."""
    for name, kind in _variables():
        form = _FORMS.get(dict if _is_section(kind) else get_origin(kind))
        value = next((value for variable, value in os.environ.items() if variable.upper() == name), None)
        if form is not None and value is not None and not _is_json(value):
            yield f"environment variable {name}: expected JSON like {form}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def variable_of(location: Sequence[int | str]) -> str | None:
    """The environment variable that sets this key, or what it is a part of, if there is one."""
    if tuple(location) == ("kafka", "bootstrap") and f"{ENVIRONMENT_PREFIX}BOOTSTRAP" in os.environ:
        return f"environment variable {ENVIRONMENT_PREFIX}BOOTSTRAP"
    for size in range(len(location), 0, -1):
        name = ENVIRONMENT_PREFIX + "__".join(str(part) for part in location[:size]).upper()
        # A section's variable sets only the keys that stand in it.
        if name in os.environ and (size != 1 or all(f'"{key}"' in os.environ[name] for key in location[1:2])):
            return f"environment variable {name}"
    return None
