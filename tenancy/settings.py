"""Every setting of the service, read from the environment or `.env`.

`.env.example` explains each one; a test keeps the two and the README equal.
"""

from base64 import b64decode
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _require_key(text: str) -> None:
    try:
        length = len(b64decode(text, validate=True))
    except ValueError:
        length = 0
    if length != 32:
        raise ValueError("a key is 32 bytes in base64")


class Settings(BaseSettings):
    """Validated configuration. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    environment: Literal["development", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)
    data_dir: Path = Path(".data")

    database_url: SecretStr | None = None
    direct_database_url: SecretStr | None = None
    pool_min_size: int = Field(0, ge=0)
    pool_max_size: int = Field(10, ge=1)
    statement_timeout_ms: int = Field(15_000, ge=100)

    member_id_pepper: SecretStr | None = None
    member_id_pepper_previous: SecretStr | None = Field(None, min_length=1)
    auth_jwks_url: str | None = None
    auth_issuer: str | None = None
    auth_audience: str | None = None
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    rate_limit: int | None = Field(None, ge=1, le=1_000_000)
    tenant_rate_limit: int | None = Field(None, ge=1, le=10_000_000)
    audit_views: bool = True
    phi_guard: Literal["block", "off"] = "block"

    audit_signing_key: SecretStr | None = None
    audit_public_keys: Annotated[tuple[str, ...], NoDecode] = ()
    audit_ledger: Path | None = None
    audit_seal_seconds: float = Field(5, ge=0, le=3600)

    demo_password: SecretStr | None = Field(None, min_length=6)
    seed: bool = True

    @field_validator("cors_origins", "trusted_proxies", "audit_public_keys", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value

    @field_validator("data_dir", "audit_ledger", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value else None

    @field_validator("audit_signing_key", mode="after")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _require_key(value.get_secret_value())
        return value

    @field_validator("audit_public_keys", mode="after")
    @classmethod
    def _are_keys(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            _require_key(key)
        return value

    @cached_property
    def is_production(self) -> bool:
        return self.environment == "production"

    @cached_property
    def uses_embedded_database(self) -> bool:
        """With neither URL set, the embedded PostgreSQL under `data_dir` serves."""
        return self.database_url is None and self.direct_database_url is None

    def missing_for_production(self) -> list[str]:
        """One line for each setting without which production must not start."""
        required = {
            "DATABASE_URL": (self.database_url, "the pooled URL of the restricted role"),
            "MEMBER_ID_PEPPER": (self.member_id_pepper, "the secret that keys member identifiers"),
            "AUTH_JWKS_URL": (self.auth_jwks_url, "without it tokens are signed by a development key"),
        }
        faults = [
            f"{name} is not set: {why}"
            for name, (value, why) in required.items()
            if not (value.get_secret_value() if isinstance(value, SecretStr) else value)
        ]
        if self.database_url is not None and str(self.data_dir) in unquote(self.database_url.get_secret_value()):
            faults.append("DATABASE_URL names the embedded database of DATA_DIR, which is for development")
        return faults
