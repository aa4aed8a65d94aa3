"""Settings of every role: flags, then `DROPOUT_*` environment variables, then these defaults.

Read once at each edge, with `Settings()`, and passed in; nothing reads the environment at import.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MiB = 1024**2
PREFIX = "DROPOUT_"
SQLITE_FILE = "dropout.db"  # in the data directory

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, allow_inf_nan=False)

    data_dir: Path = Field(
        Path.home() / ".dropout-service",
        description="Artifacts, uploads in progress and, by default, the database.",
    )
    database_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="SQLAlchemy URL of PostgreSQL; without one, SQLite in data_dir.",
    )
    redis_url: SecretStr | None = Field(None, description="The broker; needed when scaled out.")
    api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Callers send it as a bearer token; needed to bind beyond loopback.",
    )

    max_upload_bytes: Bytes = 1024 * MiB
    max_request_bytes: Bytes = 32 * MiB
    max_columns: int = Field(100_000, ge=1, description="Columns that a table may have.")
    read_memory_bytes: Bytes = Field(
        2048 * MiB, description="Memory of the process that reads an upload."
    )
    read_seconds: Seconds = Field(300, description="Time that reading an upload may take.")
    max_training_bytes: Bytes = 4096 * MiB
    max_loaded_model_bytes: Bytes = 1024 * MiB

    concurrency: int = Field(
        min(4, os.cpu_count() or 1), ge=1, description="Jobs that a worker trains at once."
    )
    threads_per_job: int = Field(
        max(1, (os.cpu_count() or 1) // 4), ge=1, description="CPU threads of one training."
    )
    auto_device_queue: Literal["cpu", "gpu"] = Field(
        "cpu", description="The queue of jobs whose device is `auto`."
    )

    lease_seconds: Seconds = 60
    renew_seconds: Seconds = 10
    fence_seconds: Seconds = Field(
        40, description="Without a renewal for so long, a supervisor ends its trainer."
    )
    max_attempts: int = Field(
        5, ge=1, description="Attempts in a row that may be lost without a new epoch."
    )
    retry_backoff_seconds: Seconds = 1
    redispatch_seconds: Seconds = 30
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 10
    grace_seconds: Seconds = Field(20, description="A trainer's time to checkpoint and stop.")
    sweep_seconds: Seconds = Field(600, description="How often what nobody needs is deleted.")

    @model_validator(mode="after")
    def _lease_outlives_its_holder(self) -> Self:
        if not self.renew_seconds < self.fence_seconds < self.lease_seconds:
            raise ValueError(
                "renew_seconds has to be below fence_seconds, and that below lease_seconds"
            )
        return self

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir / SQLITE_FILE}"

    @property
    def artifact_root(self) -> Path:
        return self.data_dir / "artifacts"

    def as_environment(self) -> dict[str, str]:
        """The environment that gives a child process these settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"{PREFIX}{name}".upper(): _plain(value)
            for name, value in values.items()
            if value is not None
        }


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
