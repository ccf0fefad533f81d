"""YAML files into validated models, with errors that name the file, the line and the key."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Model = TypeVar("Model", bound=BaseModel)


def shipped_config() -> Path:
    """Folder of the configuration that comes with the product.

    `config/` beside the code in a checkout, `pipeline/_config` in an installed wheel.
    """
    package = Path(str(resources.files("pipeline")))
    installed = package / "_config"
    return installed if installed.is_dir() else package.parent / "config"


def read_yaml(path: Path) -> tuple[Any, yaml.Node | None]:
    """The file's data and its node tree (for line numbers). Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); name an existing YAML file") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 text (byte {error.start})") from error
    try:
        return yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise SettingsError(f"{path}{line}: not valid YAML: {problem}") from error


def load_model(path: Path, model: type[Model]) -> Model:
    """The file as this model. Raises SettingsError that names each wrong key with its line."""
    data, tree = read_yaml(path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise SettingsError(f"{path}:1: expected keys and values, found a {type(data).__name__}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SettingsError(describe(error, path, tree)) from error


def describe(
    error: ValidationError,
    path: Path,
    tree: yaml.Node | None,
    place_of: Callable[[Sequence[int | str]], str | None] = lambda _: None,
) -> str:
    """One line a wrong key: `file:line: key: what was expected, what was found`.

    `place_of` may name another place than the file for a key, such as an environment variable.
    """
    lines = []
    for problem in error.errors():
        location = problem["loc"]
        in_file = f"{path}:{line_of(tree, location)}" if tree is not None else str(path)
        place = place_of(location) or in_file
        key = ".".join(str(part) for part in location) or "(whole file)"
        found = "" if problem["type"] == "missing" else f" (found {_short(problem['input'])})"
        lines.append(f"{place}: {key}: {problem['msg']}{found}")
    return "\n".join(lines)


def line_of(node: yaml.Node | None, location: Sequence[int | str]) -> int:
    """Line (from 1) of the deepest node on the way to `location`."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            entry = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if entry is None:
                continue  # pydantic puts names of union members into locations
            line, node = entry[0].start_mark.line + 1, entry[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
