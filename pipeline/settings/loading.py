"""Reading the settings, and what a command line says besides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import SettingsError as VariableError

from pipeline.configfile import describe, in_file, read_mapping, shipped_config
from pipeline.errors import SettingsError
from pipeline.settings.variables import keys_beside, no_json, refuse_unknown_variables, variable_of
from pipeline.settings.whole import Settings

if TYPE_CHECKING:
    from pathlib import Path


def load_settings(path: Path | None = None, *, overrides: dict[str, Any] | None = None) -> Settings:
    """Settings from the file (the shipped `duri.yaml` where None), the environment, then `overrides`.

    `overrides` maps dotted keys to values, for command-line options: `{"kafka.bootstrap": "…"}`; None is skipped.
    Raises SettingsError that names file, line and key.
    """
    path = path or shipped_config() / "duri.yaml"
    data, tree = read_mapping(path)
    refuse_unknown_variables()
    try:
        settings = Settings(**data)
    except VariableError as error:
        raise SettingsError("\n".join(no_json()) or str(error)) from error
    except ValidationError as error:
        place_of = in_file(path, tree)
        raise SettingsError(
            describe(error, lambda key: variable_of(key) or place_of(key), known=keys_beside)
        ) from error
    return _apply(settings, {key: value for key, value in (overrides or {}).items() if value is not None})


def _apply(settings: Settings, overrides: dict[str, Any]) -> Settings:
    """The settings with these values, each section checked with all of its own. Raises SettingsError."""
    whole: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for dotted, value in overrides.items():
        section, _, key = dotted.partition(".")
        if key:
            sections.setdefault(section, {})[key] = value
        else:
            whole[section] = value
    for section, values in sections.items():
        current = getattr(settings, section)
        try:
            whole[section] = type(current).model_validate({**current.model_dump(), **values})
        except ValidationError as error:
            raise SettingsError(describe(error, lambda _: "command-line option", (section,))) from error
    return settings.model_copy(update=whole)
