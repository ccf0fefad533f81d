"""Options and helpers that the commands of `duri models` share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.user import user_name
from pipeline.errors import ModelError
from pipeline.registry.pointers import Author
from pipeline.registry.store import Store
from pipeline.settings import load_settings

Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="As `list` shows it.")]
Registry = Annotated[
    str | None, typer.Option(metavar="PLACE", help="Folder or URL of the registry; left out, models.registry.")
]
Config = Annotated[Path | None, typer.Option(help="Settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Why = Annotated[str, typer.Option(help="Reason; it is recorded.")]
Who = Annotated[str | None, typer.Option(help="Who does it; left out, your user name.")]


def store_at(registry: str | None, config: Path | None) -> Store:
    """The registry that is meant."""
    return Store(registry or load_settings(config).models.registry)


def author(who: str | None, why: str) -> Author:
    """Who does it, now."""
    return Author(who=who or user_name(), when=datetime.now(UTC), why=why)


def known(store: Store, name: str) -> str:
    """The name, where a version is registered under it. Raises ModelError."""
    if not store.versions(name):
        raise ModelError(f"{store.location}: no model is called {name}; `duri models list` shows those there are")
    return name
