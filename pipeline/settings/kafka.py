"""How to reach the broker."""

from __future__ import annotations

import re
from pathlib import Path  # noqa: TC003  # pydantic reads the annotations
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.errors import SettingsError
from pipeline.settings.section import Section

_SERVER: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:,/\[\]]+)(?::(\d{1,5}))?")


class KafkaSettings(Section):
    """How to reach the broker."""

    bootstrap: str = Field(default="127.0.0.1:9092", description="host:port[,host:port…] of the brokers")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_password_file: Path | None = Field(default=None, description="File that holds the password")
    ssl_cafile: Path | None = Field(default=None, description="CA certificates (PEM); the system's where absent")
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_key_password: SecretStr | None = None
    ssl_key_password_file: Path | None = Field(default=None, description="File that holds the key's password")

    @field_validator("bootstrap")
    @classmethod
    def _servers(cls, bootstrap: str) -> str:
        for server in bootstrap.split(","):
            match = _SERVER.fullmatch(server.strip())
            if match is None or not 0 < int(match[1] or 9092) <= 65_535:
                raise ValueError("host:port[,host:port…] with ports from 1 to 65535 is wanted, like kafka:9092")
        return bootstrap

    @model_validator(mode="after")
    def _credentials_fit(self) -> Self:
        has_password = self.sasl_password is not None or self.sasl_password_file is not None
        if not self.security_protocol.startswith("SASL"):
            if has_password:
                raise ValueError(
                    f"a SASL password is of no use with security_protocol {self.security_protocol}; "
                    "set security_protocol to SASL_SSL or SASL_PLAINTEXT, or remove sasl_password and its file"
                )
        elif not self.sasl_username:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username")
        elif not has_password:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_password_file (or sasl_password)")
        return self

    def password(self) -> str | None:
        """The SASL password, from the setting or its file. Raises SettingsError."""
        return _secret(self.sasl_password, self.sasl_password_file, "kafka.sasl_password_file")

    def key_password(self) -> str | None:
        """The password of the client's key, from the setting or its file. Raises SettingsError."""
        return _secret(self.ssl_key_password, self.ssl_key_password_file, "kafka.ssl_key_password_file")


def _secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    if value is not None:
        return value.get_secret_value()
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{key}: {file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{key}: {file} is not UTF-8 text (byte {error.start})") from error
