"""Logging of a worker: structlog for us and for the libraries, as JSON or for people, without secrets.

Raises nothing and knows no globals: `configure_logging` is called once by a command, never by the library code.
"""

from __future__ import annotations

import logging
import re
import ssl
import sys
import time
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from structlog.typing import EventDict, Processor

    from pipeline.settings import RuntimeSettings

_SECRET = re.compile(r"password|secret|token|credential|passphrase", re.IGNORECASE)
_MASK = "**********"
_REPEAT_S = 10.0
_NOBODY_THERE = 'Unable connect to "%s:%s": %s'
"""What aiokafka says of each address that it tries when a client starts."""
_REMEMBERED = 1000
_NEW_BROKER_S = 15.0
_ASKED_AGAIN_S = 5.0


def configure_logging(runtime: RuntimeSettings) -> None:
    """Send all log records of the process to stderr in the format and from the level that the settings name."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(runtime)],
        )
    )
    handler.addFilter(NoiseFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(runtime.log_level.upper())
    # aiokafka tells every connection and rebalance; what matters of it we say ourselves.
    logging.getLogger("aiokafka").setLevel(max(logging.WARNING, root.level))


def _renderers(runtime: RuntimeSettings) -> list[Processor]:
    terminal = sys.stderr.isatty()
    if runtime.log_format == "console" or (runtime.log_format == "auto" and terminal):
        # Plain tracebacks: the pretty ones print local variables, and a secret may be among them.
        return [structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def mask_secrets(_logger: object, _method: str, event: EventDict) -> MutableMapping[str, object]:
    """Hide the values of keys that sound like secrets."""
    return {key: _MASK if _SECRET.search(key) and value is not None else value for key, value in event.items()}


class NoiseFilter(logging.Filter):
    """Keeps aiokafka's noise out.

    The same message of its passes once in ten seconds: a lost broker makes it say that all the time. That nobody
    answers at an address is raised to us whenever a client starts, and the futures of a dead producer, which asyncio
    finds with an exception nobody fetched, tell what was raised to us: both are dropped, because we tell them.
    A broker that has just begun has no coordinators while it makes the topics they keep; clients ask again, and only
    what lasts longer than that takes is told.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, str], float] = {}
        self._no_coordinator = _Spell()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        if record.name == "asyncio":
            return not (record.exc_info and isinstance(record.exc_info[1], KafkaError))
        if not record.name.startswith("aiokafka"):
            return True
        if record.msg == _NOBODY_THERE and isinstance(record.args, tuple):
            why = record.args[-1]
            if isinstance(why, OSError) and not isinstance(why, ssl.SSLError):  # why TLS failed nobody else tells
                return False
        now = time.monotonic()
        if _says_no_coordinator(record) and self._no_coordinator.lasts(now) < _NEW_BROKER_S:
            return False
        key = (record.name, str(record.msg))
        if now - self._last.get(key, -_REPEAT_S) < _REPEAT_S:
            return False
        if len(self._last) >= _REMEMBERED:
            self._last.clear()
        self._last[key] = now
        return True


class _Spell:
    """Something that is said again and again until it is over."""

    def __init__(self) -> None:
        self._since = self._last = float("-inf")

    def lasts(self, now: float) -> float:
        """For how long it has been said, now that it is said once more; seconds."""
        if now - self._last > _ASKED_AGAIN_S:
            self._since = now
        self._last = now
        return now - self._since


def _says_no_coordinator(record: logging.LogRecord) -> bool:
    why = record.args[-1] if isinstance(record.args, tuple) and record.args else None
    return isinstance(why, GroupCoordinatorNotAvailableError)
