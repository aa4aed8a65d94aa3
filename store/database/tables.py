"""The tables. Times are Unix seconds on the database's clock, the same on both databases."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

MAX_BACKOFF_SECONDS = 60  # before another attempt


class database_now(FunctionElement[float]):  # noqa: N801 - it reads as the SQL function it is
    """Return Unix seconds on the database's clock, at the time of the statement."""

    type = Double()
    inherit_cache = True


@compiles(database_now, "postgresql")
def _postgresql_now(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)"


@compiles(database_now, "sqlite")
def _sqlite_now(_element: Any, _compiler: Any, **_options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


metadata = MetaData(
    naming_convention={
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False, server_default=text("'default'")),
    Column("name", Text, nullable=False),
    Column("format", String(16), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("num_rows", BigInteger, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("options", JSON, nullable=False, server_default=text("'{}'")),
    Column("warnings", JSON, nullable=False, server_default=text("'[]'")),
    Column("artifact", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_datasets_tenant_id", "tenant", "id"),
    Index("ix_datasets_tenant_name", "tenant", "name", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False, server_default=text("'default'")),
    Column("dataset_id", String(40), nullable=False),
    Column("name", Text),  # the spec's, for lists
    Column("spec", JSON, nullable=False),
    Column("warnings", JSON, nullable=False, server_default=text("'[]'")),
    Column("queue", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", String(32)),
    # Of a job that is asked to stop: whether it keeps the model that it has so far.
    Column("keep_model", Boolean, nullable=False, server_default=false()),
    Column("detail", Text),
    # The fencing token: every claim takes the next one, and every later write must carry it.
    Column("attempt", Integer, nullable=False),
    # Attempts lost in a row since the last new epoch or fold; a clean handover does not count.
    Column("failures", Integer, nullable=False),
    Column("owner", Text),
    Column("lease_expires_at", Double),
    Column("run_after", Double, nullable=False),
    Column("dispatched_at", Double),
    Column("num_threads", Integer),
    # The span of the request that submitted the job (W3C Trace Context), if requests are traced.
    Column("traceparent", String(55)),
    # Of a running job: what its trainer does, such as "encoding".
    Column("step", String(16)),
    Column("epochs_completed", Integer, nullable=False),
    Column("num_events", Integer, nullable=False),
    # Whether a running job is to stop at a checkpoint and wait, as `paused`, to be resumed.
    Column("pause_requested", Boolean, nullable=False, server_default=false()),
    # Of a trial: its sweep, its number, which of its repeats this is. A job with a sweep and no
    # number was submitted with `tune`: no worker runs it, and it ends as its sweep does.
    Column("sweep_id", String(40)),
    Column("trial", Integer),
    Column("repeat", Integer),
    Column("stack", String(64)),  # trials of a sweep with the same one can train as one network
    # The rung that it trains for, and the epochs at which it then pauses; NULL to complete it.
    Column("rung", Integer),
    Column("pause_after", Integer),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Index("ix_jobs_sweep_id_trial", "sweep_id", "trial", "repeat"),
    Index("ix_jobs_state_run_after", "state", "run_after"),
    Index("ix_jobs_dataset_id", "dataset_id", "id"),
    Index("ix_jobs_tenant_id", "tenant", "id"),
    Index("ix_jobs_tenant_name", "tenant", "name", "id"),
    Index("ix_jobs_tenant_state", "tenant", "state", "id"),
)

epochs = Table(
    "epochs",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("train_loss", Double, nullable=False),
    Column("validation_loss", Double),
    Column("validation_score", Double),
    Column("learning_rate", Double, nullable=False),
    Column("samples_per_second", Double, nullable=False),
    Column("monitored", Double),  # what early stopping watches
    Column("recorded_at", Double, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # Counted per job under the lock of its row, so a reader that has seen n has seen all up to n.
    Column("sequence", Integer, primary_key=True),
    Column("type", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("dataset_id", String(40), nullable=False),
    Column("name", Text),  # the spec's, for lists
    Column("spec", JSON, nullable=False),
    Column("task", String(16), nullable=False),
    Column("queue", String(16), nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", String(32)),
    Column("detail", Text),
    # Counts the decisions that are applied: only one that was made in this round may be.
    Column("round", Integer, nullable=False),
    # No further trial is created or promoted: the time is up, or the user takes the best so far.
    Column("is_exhausted", Boolean, nullable=False),
    Column("max_parallel", Integer),
    Column("winners", JSON),  # numbers of trials, once they are decided
    Column("importance", JSON),
    Column("traceparent", String(55)),
    Column("num_events", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("finished_at", Double),
    Index("ix_sweeps_state", "state"),
    Index("ix_sweeps_tenant_id", "tenant", "id"),
    Index("ix_sweeps_tenant_name", "tenant", "name", "id"),
    Index("ix_sweeps_dataset_id", "dataset_id", "id"),
)

trials = Table(
    "trials",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("bracket", Integer, nullable=False),
    Column("values", JSON, nullable=False),  # by JSON pointer into the job
)

# What each repeat of a trial has reached at a rung of its bracket.
results = Table(
    "results",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("repeat", Integer, primary_key=True),
    Column("rung", Integer, primary_key=True),
    Column("epochs", Integer, nullable=False),  # completed
    Column("values", JSON(none_as_null=True)),  # of the objectives; NULL if it failed
    Column("is_finished", Boolean, nullable=False),  # its training is over
    Column("detail", Text),  # why it failed
)

sweep_events = Table(
    "sweep_events",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True),  # as for jobs
    Column("type", String(16), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", Double, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False, server_default=text("'default'")),
    Column("job_id", String(40), nullable=False, unique=True),
    Column("name", Text),
    Column("manifest", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("num_parameters", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("artifact", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    # Counts within the name; NULL without a name, or with a name that cannot stand in a path.
    Column("version", Integer),
    Column("served", Boolean, nullable=False, server_default=true()),  # false once unloaded
    Index("ix_models_tenant_id", "tenant", "id"),
    Index("ix_models_tenant_name", "tenant", "name", "id"),
    Index("uq_models_tenant_name_version", "tenant", "name", "version", unique=True),
)

# The newest version of a name. The row outlives the model, so no version is used twice.
model_names = Table(
    "model_names",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("last_version", Integer, nullable=False),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Index("ix_model_aliases_model_id", "model_id"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("tenant", String(64), nullable=False, server_default=text("'default'")),
    Column("request_sha256", String(64), nullable=False),
    Column("status", Integer),  # the stored answer's; NULL while the request is in flight
    Column("headers", JSON),
    Column("body", JSON),
    Column("created_at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("secret_sha256", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
)

# One token bucket for each tenant; see store/access/rate_limits.py.
request_rates = Table(
    "request_rates",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("full_at", Double, nullable=False),
)


def upsert(connection: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that can have a conflict clause, which each dialect has for itself."""
    is_postgresql = connection.dialect.name == "postgresql"
    return postgresql.insert(table) if is_postgresql else sqlite.insert(table)


def is_due() -> ColumnElement[bool]:
    """Return the condition of a queued job that may start.

    Only failed attempts wait, and none for longer than the largest backoff: a job that seems to
    wait longer was queued before the clock was set back.
    """
    now, run_after = database_now(), jobs.c.run_after
    waits = (jobs.c.failures > 0) & run_after.between(now, now + MAX_BACKOFF_SECONDS)
    return (jobs.c.state == "queued") & ~waits
