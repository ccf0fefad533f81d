"""Every error the product raises on purpose, and whether trying again can help.

    DuriError
    ├── SettingsError          a configuration file, variable or option is wrong      (exit 2)
    ├── InputError             data that cannot be read
    │   ├── DecodeError        one Kafka message; it goes to the dead letters
    │   ├── FileError          a file the user named                                  (exit 2)
    │   ├── SourceError        who is asked for samples (Prometheus, Docker) refuses
    │   │   └── SourceUnavailableError  nobody answers there now                      (retry)
    │   └── ModelError         a trained model, or its registry
    ├── StateError             a snapshot that cannot be restored
    ├── MissingExtraError      an optional library is not installed                  (exit 2)
    ├── LifecycleError         a move that a state machine does not allow
    └── BrokerError            Kafka
        ├── BrokerUnavailableError  nobody answers there, or not yet                  (retry)
        ├── EmbeddedBrokerError  the embedded broker cannot be installed or started
        └── FencedError        another worker owns this partition now                 (restart)

Messages name the place (file and line, topic, partition, offset, series) and the remedy.
"""

from __future__ import annotations

from typing import ClassVar, Final, Self

REACH_A_BROKER: Final = (
    "check the address (--bootstrap, DURI_BOOTSTRAP or kafka.bootstrap), and kafka.security_protocol where it asks for "
    "TLS or a login; or start one with `duri broker`"
)
"""What to do where no broker answers."""

CREATE_TOPIC: Final = "create it with `duri topics create`; if it is there, grant the user Describe on it"
"""What to do where a topic is missing: of one that a user may not see Kafka answers the same."""


class DuriError(Exception):
    """Root of the tree."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""
    exit_status: ClassVar[int] = 1
    """What a command returns when this error ends it."""


class SettingsError(DuriError):
    """Configuration is wrong: the message names the file, the line or key, and what was expected."""

    exit_status = 2


class InputError(DuriError):
    """Data that cannot be read."""


class DecodeError(InputError):
    """One message cannot be read; `reason` is a short, countable word for metrics and dead letters."""

    def __init__(self, message: str, *, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class FileError(InputError):
    """A file that the user named cannot be read."""

    exit_status = 2


class SourceError(InputError):
    """Who is asked for samples refuses: the message names the address, what was asked, and the remedy."""


class SourceUnavailableError(SourceError):
    """Nobody answers there now, or it is too busy to."""

    retryable = True


class ModelError(InputError):
    """A trained model, or the registry that holds it, cannot be used; what ran before goes on."""


class StateError(DuriError):
    """A snapshot does not fit this program: the message names both versions."""


class MissingExtraError(DuriError):
    """What was asked for needs a library that is an extra: the message says how to install it."""

    exit_status = 2


class LifecycleError(DuriError):
    """A state machine was asked for a move that it does not have."""


class BrokerError(DuriError):
    """Kafka refused or failed."""


class BrokerUnavailableError(BrokerError):
    """No broker answers at the address, or the one that does is not ready yet."""

    retryable = True

    @classmethod
    def at(cls, bootstrap: str, protocol: str, why: str = "") -> Self:
        """Nobody answers at `bootstrap`, spoken to by `protocol`; `why` is what is known of it beside that."""
        return cls(f"no Kafka broker answers at {bootstrap} ({protocol}){f': {why}' if why else ''}; {REACH_A_BROKER}")


class EmbeddedBrokerError(BrokerError):
    """The embedded broker cannot be installed or started."""


class FencedError(BrokerError):
    """Another worker owns this partition now; this one must give it up."""

    retryable = True
