"""YAML files into validated models, with errors that name the file, the line and the key."""

from __future__ import annotations

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    PlaceOf = Callable[[Sequence[int | str]], str]

Model = TypeVar("Model", bound=BaseModel)

_SECRET: Final = re.compile("pass|secret|key|token", re.IGNORECASE)
# A misspelt key may be that of a secret, and a value in the wrong place is often one as well.
_SILENT_ABOUT: Final = frozenset({"missing", "extra_forbidden", "model_type", "dict_type", "invalid_key"})
# An unquoted password may begin with * or !, which YAML takes for an alias or a tag and repeats in its message.
_QUOTED_WORD: Final = re.compile(r"(alias|tag) '[^']*'")
_KINDS: Final[dict[type, str]] = {list: "a list", str: "a text"}


_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The safe loader; libyaml's where PyYAML was built with it, ten times as fast."""


def _refuse_repeated_keys(root: yaml.Node | None) -> None:
    """Refuse a key that occurs twice, of which YAML would silently take the last. Raises ComposerError."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
            continue
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in first:
                problem = f"the key {key.value} stands in line {first[key.value]} already; keep one of them"
                raise yaml.composer.ComposerError(None, None, problem, key.start_mark)
            first[key.value] = key.start_mark.line + 1
        waiting += [value for _, value in reversed(node.value)]


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
        loader = _Loader(text)
        try:
            tree = loader.get_single_node()
            _refuse_repeated_keys(tree)
            return (None if tree is None else loader.construct_document(tree)), tree
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = _QUOTED_WORD.sub(r"\1 (a text goes in quotes)", getattr(error, "problem", None) or str(error))
        raise SettingsError(f"{path}{line}: not valid YAML: {problem}") from error


def read_mapping(path: Path) -> tuple[dict[str, Any], yaml.Node | None]:
    """The file's keys and values, none where it is empty, and its node tree. Raises SettingsError."""
    data, tree = read_yaml(path)
    if data is None:
        return {}, tree
    if not isinstance(data, dict):
        kind = _KINDS.get(type(data), f"a single value ({type(data).__name__})")
        raise SettingsError(f"{path}:1: expected keys and values, found {kind}")
    for key in data:
        if not isinstance(key, str):
            raise SettingsError(
                f"{path}:{line_of(tree, [str(key)])}: {key}: expected a text as the key; put it in quotes"
            )
    return data, tree


def load_model(path: Path, model: type[Model]) -> Model:
    """The file as this model. Raises SettingsError that names each wrong key with its line."""
    data, tree = read_mapping(path)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise SettingsError(describe(error, in_file(path, tree))) from error


def in_file(path: Path, tree: yaml.Node | None) -> PlaceOf:
    """Where a key stands: `file:line`."""
    return lambda location: str(path) if tree is None else f"{path}:{line_of(tree, location)}"


def describe(
    error: ValidationError,
    place_of: PlaceOf,
    within: tuple[str, ...] = (),
    known: Callable[[Sequence[int | str]], Iterable[str]] = lambda _: (),
) -> str:
    """One line a wrong key: `place: key: what was expected, what was found`; secrets are not repeated.

    `place_of` names the file and line, environment variable or option that sets a key; `within` is the section that
    was validated alone; `known` gives the keys that there are where a wrong one stands.
    """
    lines = []
    for problem in error.errors():
        location = (*within, *problem["loc"])
        place = place_of(location)
        key = ".".join(str(part) for part in location) or "(whole file)"
        found = _found(problem["type"], location, problem["input"])
        hint = nearest(str(location[-1]), known(location)) if problem["type"] == "extra_forbidden" else ""
        lines.append(f"{place}: {key}: {problem['msg']}{found}{hint}")
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


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?` with the known name that is most like this one; empty where none is like it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _found(kind: str, location: Sequence[int | str], value: object) -> str:
    secret = any(_SECRET.search(str(part)) for part in location)
    # A whole section may have a secret in it.
    if secret or kind in _SILENT_ABOUT or not isinstance(value, str | int | float | None):
        return ""
    text = repr(value)
    return f" (found {text if len(text) <= 60 else text[:57] + '...'})"
