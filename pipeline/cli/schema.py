"""`duri schema`: JSON Schemas of the records and settings, and the AsyncAPI document of the topics."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  # typer reads the annotations
from typing import Annotated

import typer
import yaml

from pipeline.errors import FileError
from pipeline.settings import load_settings
from pipeline.views.asyncapi import asyncapi, json_schema, schema_names

ASYNCAPI = "asyncapi"


def schema(
    name: Annotated[str | None, typer.Argument(help="Record, `settings` or `asyncapi`; left out, all.")] = None,
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", file_okay=False, help="Folder to write to; made where missing.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file: names and sizes of the topics.")] = None,
) -> None:
    """Print the schema of one record, or write all of them and asyncapi.yaml to a folder; alone, list the names."""
    names = {**schema_names(), ASYNCAPI: "The topics, their messages, headers and keys (AsyncAPI 3.0, YAML)"}
    if name is not None and name not in names:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(names)}", param_hint="NAME")
    if output is not None:
        for one in names if name is None else [name]:
            typer.echo(_write(output, *_document(one, config)))
    elif name is not None:
        typer.echo(_document(name, config)[1], nl=False)
    else:
        for one, about in names.items():
            typer.echo(f"{one:15} {about}")


def _document(name: str, config: Path | None) -> tuple[str, str]:
    """File name and text. Raises SettingsError where the settings file is wrong."""
    if name == ASYNCAPI:
        document = asyncapi(load_settings(config))
        return "asyncapi.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return f"{name}.schema.json", json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n"


def _write(folder: Path, file: str, text: str) -> Path:
    path = folder / file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path}: cannot be written ({error.strerror}); name a folder that you may write to") from error
    return path
