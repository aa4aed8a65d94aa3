"""Settings of every role: flags, then `DROPOUT_*` environment variables, then these defaults.

Read once at each edge, with `Settings()`, and passed in; nothing reads the environment at import.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MiB = 1024**2
PREFIX = "DROPOUT_"
SQLITE_FILE = "dropout.db"  # in the data directory

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # which would quote passwords
    )

    data_dir: Path = Field(
        Path.home() / ".dropout-service",
        description="Artifacts, uploads in progress and, by default, the database.",
    )
    database_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        description="SQLAlchemy URL of PostgreSQL; without one, SQLite in data_dir.",
    )
    artifact_url: str | None = Field(
        None, description="`s3://bucket/prefix` for artifacts; without one, a folder in data_dir."
    )
    artifact_cache_bytes: Bytes = Field(
        10 * 1024 * MiB, description="What artifacts of a bucket may take up in data_dir."
    )
    redis_url: SecretStr | None = Field(None, description="The broker; needed when scaled out.")
    api_key: None = Field(None, description="Of earlier releases: a start with one is refused.")

    max_upload_bytes: Bytes = 1024 * MiB
    max_request_bytes: Bytes = 32 * MiB
    max_columns: int = Field(100_000, ge=1, description="Columns that a table may have.")
    read_memory_bytes: Bytes = Field(
        2048 * MiB, description="Memory of the process that reads an upload."
    )
    read_seconds: Seconds = Field(300, description="Time that reading an upload may take.")
    max_training_bytes: Bytes = 4096 * MiB
    max_parameters: int = Field(100_000_000, ge=1, description="Of one network.")
    max_epochs: int = Field(100_000, ge=1, description="Epochs that a job may ask for.")
    max_batch_size: int = Field(1_048_576, ge=1, description="Rows that a batch may have.")
    max_runtime_seconds: Seconds | None = Field(
        None,
        description="The most that a job may ask for, and what one gets that asks for none.",
    )
    max_loaded_model_bytes: Bytes = 1024 * MiB

    # What one tenant may have. Without a number there is no limit.
    tenant_queued_jobs: int = Field(10_000, ge=1, description="Jobs that wait.")
    tenant_running_jobs: int | None = Field(None, ge=1, description="Jobs that run at a time.")
    tenant_datasets: int = Field(10_000, ge=1, description="Datasets that are kept.")
    tenant_dataset_bytes: Bytes | None = Field(None, description="Their size as uploaded, in all.")
    tenant_requests_per_second: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Requests in the long run, of all processes and machines together."
    )
    tenant_request_burst: int = Field(100, ge=1, description="Requests after a quiet while.")

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
        5, ge=1, description="Attempts in a row that may be lost without a new epoch or fold."
    )
    retry_backoff_seconds: Seconds = 1
    redispatch_seconds: Seconds = 30
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 10
    grace_seconds: Seconds = Field(20, description="A trainer's time to checkpoint and stop.")
    finish_seconds: Seconds = Field(
        600, description="A trainer's time to score and save once max_runtime_seconds are over."
    )
    sweep_seconds: Seconds = Field(600, description="How often what nobody needs is deleted.")
    keep_events_days: float = Field(
        30,
        gt=0,
        description="Time that a job is over before the events of its epochs are deleted.",
    )

    access_log: bool = Field(
        True, description="A line of log for each request but for probes that went well."
    )
    worker_metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Where a scaled-out worker or dispatcher answers /metrics, if at all.",
    )
    worker_metrics_host: str = Field(
        "127.0.0.1",
        description="The address to do so at. It asks for no key: give it to a scraper's network.",
    )

    @field_validator("artifact_url")
    @classmethod
    def _names_a_bucket(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url is not None and url != f"s3://{parts.hostname}{parts.path}":
            raise ValueError("only s3://bucket/prefix is known; keys go in the AWS_* variables")
        return url

    @field_validator("api_key", mode="before")
    @classmethod
    def _keys_are_made(cls, value: object) -> None:
        if value is not None:  # to go on without would open what was locked
            raise ValueError("keys are rows now: unset it, and make one with `keys create`")

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

    @property
    def artifact_cache(self) -> Path:
        return self.data_dir / "cache"

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
