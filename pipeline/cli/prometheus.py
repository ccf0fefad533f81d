"""What `duri bridge prometheus` and `duri backfill prometheus` share: the server, and the name of the source."""

from __future__ import annotations

import hashlib
from pathlib import Path  # typer reads the annotations
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from pipeline.errors import FileError
from pipeline.ingest.naming import service_of
from pipeline.runtime.clients import connection
from pipeline.sources.positions import PositionedPublisher
from pipeline.sources.prometheus import PrometheusReader, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.settings import Settings

Url = Annotated[str, typer.Option(help="The server, like http://prometheus:9090.")]
Match = Annotated[
    list[str] | None,
    typer.Option(help="Series selector like '{job=\"shop\"}', as often as wanted; left out, all series."),
]
Name = Annotated[
    str | None,
    typer.Option(help="Name under which Kafka remembers how far was read; left out, made of --url and --match."),
]
TokenFile = Annotated[
    Path | None, typer.Option(help="File with a bearer token for the server; read again for each query.")
]
Delay = Annotated[
    str, typer.Option(help="Read up to so long before the server's present: the longest that a scrape takes.")
]


def make_reader(settings: Settings, url: str, matches: Sequence[str], token_file: Path | None) -> PrometheusReader:
    """Reader of the server; what names a service is set by `ingest.service_labels`. Raises typer.BadParameter."""
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise typer.BadParameter(f"{url!r} is no address: give one like http://prometheus:9090", param_hint="--url")

    def service(labels: Mapping[str, str]) -> str:
        return service_of(labels, None, settings.ingest)

    return PrometheusReader(Server(url, _authorization(token_file)), matches, service)


def _authorization(token_file: Path | None) -> Callable[[], Mapping[str, str]]:
    if token_file is None:
        return dict

    def headers() -> Mapping[str, str]:
        try:
            return {"Authorization": f"Bearer {token_file.read_text(encoding='utf-8').strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"--token-file {token_file} cannot be read: {error}") from error

    return headers


def source_name(url: str, matches: Sequence[str]) -> str:
    """Name of the source: of the server's address without user and password, and what is read of it."""
    address = urlsplit(url)
    what = hashlib.blake2b("\n".join(sorted(matches)).encode(), digest_size=4).hexdigest()
    return f"prometheus/{address.hostname}:{address.port or ''}{address.path.rstrip('/')}/{what}"


def make_publisher(settings: Settings, source: str) -> PositionedPublisher:
    """Publisher for this source."""
    return PositionedPublisher(connection(settings.kafka), settings, source)
