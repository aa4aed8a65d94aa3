"""Add sweeps with their trials, results and events, and what a job is of a sweep; paused jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "jobs", sa.Column("pause_requested", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("jobs", sa.Column("sweep_id", sa.String(40)))
    op.add_column("jobs", sa.Column("stack", sa.String(64)))
    for name in ("trial", "repeat", "rung", "pause_after"):
        op.add_column("jobs", sa.Column(name, sa.Integer))
    op.create_index("ix_jobs_sweep_id_trial", "jobs", ["sweep_id", "trial", "repeat"])
    _create_sweeps()
    _create_trials()
    _create_results()
    _create_events()


def _create_sweeps() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("dataset_id", sa.String(40), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("task", sa.String(16), nullable=False),
        sa.Column("queue", sa.String(16), nullable=False),
        sa.Column("warnings", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.String(32)),
        sa.Column("detail", sa.Text),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("is_exhausted", sa.Boolean, nullable=False),
        sa.Column("max_parallel", sa.Integer),
        sa.Column("winners", sa.JSON),
        sa.Column("importance", sa.JSON),
        sa.Column("traceparent", sa.String(55)),
        sa.Column("num_events", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
    )
    op.create_index("ix_sweeps_state", "sweeps", ["state"])
    op.create_index("ix_sweeps_tenant_id", "sweeps", ["tenant", "id"])
    op.create_index("ix_sweeps_tenant_name", "sweeps", ["tenant", "name", "id"])
    op.create_index("ix_sweeps_dataset_id", "sweeps", ["dataset_id", "id"])


def _create_trials() -> None:
    op.create_table(
        "trials",
        _sweep_id("trials"),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("bracket", sa.Integer, nullable=False),
        sa.Column("values", sa.JSON, nullable=False),
    )


def _create_results() -> None:
    op.create_table(
        "results",
        _sweep_id("results"),
        *(sa.Column(name, sa.Integer, primary_key=True) for name in ("trial", "repeat", "rung")),
        sa.Column("epochs", sa.Integer, nullable=False),
        sa.Column("values", sa.JSON),
        sa.Column("is_finished", sa.Boolean, nullable=False),
        sa.Column("detail", sa.Text),
    )


def _create_events() -> None:
    op.create_table(
        "sweep_events",
        _sweep_id("sweep_events"),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )


def _sweep_id(table: str) -> "sa.Column[str]":
    sweep = sa.ForeignKey("sweeps.id", name=f"fk_{table}_sweep_id", ondelete="CASCADE")
    return sa.Column("sweep_id", sa.String(40), sweep, primary_key=True)
