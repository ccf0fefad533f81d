"""Why a secured broker does not let us in: aiokafka logs that, and raises only that it cannot connect."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from pipeline.runtime.clients import connection

if TYPE_CHECKING:
    from pipeline.settings import KafkaSettings

_ANSWER_MS = 5000


async def shut_out(kafka: KafkaSettings) -> str | None:
    """What a broker that is there says against us; None where none is there, or it has nothing against us."""
    if kafka.security_protocol == "PLAINTEXT":
        return None
    arguments = connection(kafka)
    del arguments["retry_backoff_ms"]
    for host, port, _ in collect_hosts(arguments.pop("bootstrap_servers")):
        try:
            (await create_conn(host, port, request_timeout_ms=_ANSWER_MS, **arguments)).close()
        except ssl.SSLCertVerificationError as error:
            return f"its certificate is not trusted: {error.verify_message}; check kafka.ssl_cafile"
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            continue  # it went away in the middle, as one that starts or stops does
        except ssl.SSLError as error:
            return f"no TLS connection ({error.reason}); check kafka.security_protocol and kafka.ssl_*"
        except (SaslAuthenticationFailed, UnsupportedSaslMechanismError) as error:
            return f"{error}; check kafka.sasl_mechanism, sasl_username and its password"
        except (KafkaError, OSError, TimeoutError):
            continue
    return None
