"""Why a secured broker does not let us in: aiokafka logs that, and raises only that it cannot connect."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, NoError, SaslAuthenticationFailed, UnsupportedSaslMechanismError, for_code
from aiokafka.protocol.admin import SaslHandShakeRequest

from pipeline.runtime.clients import connection

if TYPE_CHECKING:
    from aiokafka.conn import AIOKafkaConnection

    from pipeline.settings import KafkaSettings

_ANSWER_MS = 5000


async def shut_out(kafka: KafkaSettings) -> str | None:
    """What a broker that is there says against us; None where none is there, or it has nothing against us."""
    if not kafka.security_protocol.endswith("SSL") and (why := await _speaks_tls(kafka)):
        return why
    arguments = connection(kafka)
    del arguments["retry_backoff_ms"]
    for host, port, _ in collect_hosts(arguments.pop("bootstrap_servers")):
        try:
            found = await create_conn(host, port, request_timeout_ms=_ANSWER_MS, **arguments)
            why = None if kafka.security_protocol.startswith("SASL") else await _asks_for_a_login(found, kafka)
            found.close()
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
        if why:
            return why
    return None


async def _asks_for_a_login(found: AIOKafkaConnection, kafka: KafkaSettings) -> str | None:
    """That a listener to which we do not log in wants it; any other refuses to hear of it. Raises KafkaError."""
    answer = await found.send(SaslHandShakeRequest("PLAIN"))
    if for_code(answer.error_code) not in (NoError, UnsupportedSaslMechanismError):
        return None
    wanted = "SASL_SSL" if kafka.security_protocol == "SSL" else "SASL_PLAINTEXT"
    return (
        f"{found.host}:{found.port} asks for a login ({', '.join(answer.enabled_mechanisms)}), and "
        f"kafka.security_protocol is {kafka.security_protocol}; set it to {wanted}, and kafka.sasl_mechanism, "
        "sasl_username and its password"
    )


async def _speaks_tls(kafka: KafkaSettings) -> str | None:
    """That a listener which we speak to in plain text wants TLS; None where none does."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent; what it speaks is asked
    for host, port, _ in collect_hosts(kafka.bootstrap):
        try:
            async with asyncio.timeout(_ANSWER_MS / 1000):
                _, writer = await asyncio.open_connection(host, port, ssl=context)
            writer.transport.abort()
        except (OSError, TimeoutError) as error:
            # An alert of TLS itself, as for want of a client's certificate, is an answer too.
            if not (isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")):
                continue
        login = kafka.security_protocol.startswith("SASL")
        wanted = "SASL_SSL" if login else "SSL (or SASL_SSL where it asks for a login)"
        return (
            f"{host}:{port} speaks TLS, and kafka.security_protocol is {kafka.security_protocol}; "
            f"set it to {wanted}, and kafka.ssl_cafile to the authority of its certificate"
        )
    return None
