"""Settings of every role: flags, then `DROPOUT_*` environment variables, then these defaults.

Each edge reads them once, with `Settings()`, and passes them on; no import reads the environment.
"""

import os
import re
from collections.abc import Collection
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dropout_core.config.network import MAX_MEMBERS

MiB = 1024**2
PREFIX = "DROPOUT_"
SQLITE_FILE = "dropout.db"  # in the data directory
DATABASE_SCHEMES = ("postgresql", "sqlite")
REDIS_SCHEMES = ("redis", "rediss")

_OF_CLIENTS = ("DROPOUT_URL",)  # of the commands that call a service

# Kubernetes describes a Service that is called `dropout` to the pods beside it.
_OF_KUBERNETES = re.compile(
    r"DROPOUT_(\w+_)?(SERVICE_HOST=|SERVICE_PORT(_\w+)?=|PORT_\d+_\w+=|PORT=(tcp|udp|sctp)://)"
)

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # errors would quote passwords
    )

    data_dir: Path = Field(
        Path.home() / ".dropout-service",
        description="Artifacts, uploads in progress and, by default, the database.",
    )
    database_url: str | None = Field(
        None,
        repr=False,  # it can hold a password
        description="SQLAlchemy URL of PostgreSQL; without one, SQLite in data_dir.",
    )
    artifact_url: str | None = Field(
        None, description="`s3://bucket/prefix` for artifacts; without one, a folder in data_dir."
    )
    artifact_cache_bytes: Bytes = Field(
        10 * 1024 * MiB, description="Disk space in data_dir for copies of a bucket's artifacts."
    )
    redis_url: SecretStr | None = Field(None, description="The broker; needed when scaled out.")
    api_key: None = Field(None, description="A setting of earlier releases; must be unset.")

    max_upload_bytes: Bytes = 1024 * MiB
    max_request_bytes: Bytes = 32 * MiB
    max_columns: int = Field(50_000, ge=1, description="Columns of a table.")
    read_memory_bytes: Bytes = Field(
        2048 * MiB, description="Memory of the process that reads an upload."
    )
    read_seconds: Seconds = Field(300, description="Time limit for reading an upload.")
    max_training_bytes: Bytes = 4096 * MiB
    max_parameters: int = Field(100_000_000, ge=1, description="Parameters of one network.")
    max_epochs: int = Field(100_000, ge=1, description="Epochs of a job.")
    max_batch_size: int = Field(1_048_576, ge=1, description="Rows of a batch.")
    max_trials: int = Field(1000, ge=1, description="Jobs of a sweep: trials times repeats.")
    max_runtime_seconds: Seconds | None = Field(
        None, description="Upper limit of a job's own limit, and the default for a job without one."
    )
    max_loaded_model_bytes: Bytes = 1024 * MiB

    # Limits of one tenant. None means no limit.
    tenant_queued_jobs: int = Field(10_000, ge=1, description="Queued jobs.")
    tenant_running_jobs: int | None = Field(None, ge=1, description="Jobs that run at a time.")
    tenant_datasets: int = Field(10_000, ge=1, description="Stored datasets.")
    tenant_dataset_bytes: Bytes | None = Field(None, description="Their total size as uploaded.")
    tenant_requests_per_second: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Average rate of requests to all processes and machines together."
    )
    tenant_request_burst: int = Field(100, ge=1, description="Requests at once after a pause.")

    concurrency: int = Field(
        min(4, os.cpu_count() or 1), ge=1, description="Jobs that a worker trains at once."
    )
    threads_per_job: int = Field(
        max(1, (os.cpu_count() or 1) // 4), ge=1, description="CPU threads of one training."
    )
    max_stack: int = Field(
        64, ge=1, le=MAX_MEMBERS, description="Trials of a sweep that a process trains as one."
    )
    auto_device_queue: Literal["cpu", "gpu"] = Field(
        "cpu", description="The queue of jobs whose device is `auto`."
    )

    lease_seconds: Seconds = 60
    renew_seconds: Seconds = 10
    fence_seconds: Seconds = Field(
        40, description="Time without a renewal after which a supervisor kills its trainer."
    )
    max_attempts: int = Field(
        5, ge=1, description="Attempts lost in a row, without a new epoch or fold, that fail a job."
    )
    retry_backoff_seconds: Seconds = 1
    redispatch_seconds: Seconds = 30
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 10
    grace_seconds: Seconds = Field(20, description="A trainer's time to checkpoint and stop.")
    finish_seconds: Seconds = Field(
        600, description="A trainer's time to score and save after max_runtime_seconds."
    )
    hang_seconds: Seconds = Field(
        30, description="Silence after which `serve` replaces one of its processes."
    )
    sweep_seconds: Seconds = Field(600, description="Time between two sweeps of unneeded data.")
    keep_events_days: float = Field(
        30,
        gt=0,
        description="Time from the end of a job to the deletion of its epoch events.",
    )

    access_log: bool = Field(
        True, description="One log line per request, except for successful probes."
    )
    trusted_proxies: str | None = Field(
        None,
        description="Addresses or networks of proxies, separated by commas, whose X-Forwarded-For "
        "and X-Forwarded-Proto headers are believed; none without.",
    )
    worker_metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="The port of /metrics of a scaled-out worker or dispatcher; none without.",
    )
    worker_metrics_host: str = Field(
        "127.0.0.1",
        description="The address of that port. It needs no key: open it to the scraper only.",
    )

    @field_validator("artifact_url")
    @classmethod
    def _names_a_bucket(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url is not None and url != f"s3://{parts.hostname}{parts.path}":
            raise ValueError("use s3://bucket/prefix, and set credentials in the AWS_* variables")
        return url

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, url: str | None) -> str | None:
        if url is None:
            return None
        example = "postgresql://user:password@host/name"
        scheme = _scheme_of(url, known=DATABASE_SCHEMES, example=example)
        if scheme == "sqlite" and not re.match(r"sqlite(\+\w+)?:///.", url):
            raise ValueError("use sqlite:///folder/file, or sqlite:////folder/file from the root")
        return url

    @field_validator("redis_url")
    @classmethod
    def _names_a_broker(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            _scheme_of(
                url.get_secret_value(), known=REDIS_SCHEMES, example="redis://:password@host:6379/0"
            )
        return url

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: str | None) -> str | None:
        for part in (value or "").split(","):
            try:
                if value is not None:
                    ip_network(part.strip())
            except ValueError as error:
                raise ValueError(
                    "use addresses or networks, such as 10.0.0.2,10.1.0.0/16"
                ) from error
        return value

    @field_validator("api_key", mode="before")
    @classmethod
    def _keys_are_made(cls, value: object) -> None:
        if value is not None:  # to ignore it would open a service that was locked
            raise ValueError(
                "unset DROPOUT_API_KEY, which is for commands that call a service, and make a key "
                "with `keys create`"
            )

    @model_validator(mode="after")
    def _knows_every_variable(self) -> Self:
        known = [f"{PREFIX}{name}".upper() for name in type(self).model_fields]
        unknown = [
            f"there is no setting {name.upper()}{_nearest(name.upper(), known)}"
            for name, value in sorted(os.environ.items())
            if name.upper().startswith(PREFIX)
            and name.upper() not in (*known, *_OF_CLIENTS)
            and not _OF_KUBERNETES.match(f"{name}={value}")
        ]
        if unknown:  # a setting that is misspelt would have no effect
            raise ValueError("; ".join(unknown))
        return self

    @model_validator(mode="after")
    def _lease_outlives_its_holder(self) -> Self:
        if not self.renew_seconds < self.fence_seconds < self.lease_seconds:
            raise ValueError(
                "renew_seconds must be less than fence_seconds, and fence_seconds less than "
                "lease_seconds"
            )
        return self

    @property
    def database(self) -> str:
        """Return the configured database URL, or that of SQLite in the data directory."""
        return self.database_url or f"sqlite:///{self.data_dir / SQLITE_FILE}"

    @property
    def sqlite_path(self) -> Path | None:
        """Return the path of the database's file; None for PostgreSQL."""
        scheme, _, path = self.database.partition(":///")
        return Path(path.partition("?")[0]) if scheme.startswith("sqlite") else None

    @property
    def artifact_root(self) -> Path:
        return self.data_dir / "artifacts"

    @property
    def artifact_cache(self) -> Path:
        return self.data_dir / "cache"

    def as_environment(self) -> dict[str, str]:
        """Return environment variables that give a child process these settings."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"{PREFIX}{name}".upper(): _plain(value)
            for name, value in values.items()
            if value is not None
        }


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _scheme_of(url: str, *, known: Collection[str], example: str) -> str:
    """Return the scheme of a URL without its driver. Raises ValueError for an unknown one."""
    scheme, found, _ = url.partition("://")
    scheme = scheme.partition("+")[0]
    if not found or scheme not in known:
        # A URL without a scheme can begin with a password.
        told = repr(scheme) if found and re.fullmatch(r"\w{1,20}", scheme) else "of the URL"
        hint = _nearest(scheme, known) if found else ""
        raise ValueError(f"unknown scheme {told}{hint}: use {example}")
    try:
        _ = urlsplit(url).port
    except ValueError as error:
        raise ValueError(f"the URL has no valid host and port: use {example}") from error
    return scheme


def _nearest(name: str, known: Collection[str]) -> str:
    """Return a question for the known name that is most like this one; "" if none is."""
    nearest = get_close_matches(name, known, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""
