"""Add tenants, API keys, request rates, and the trace of a job"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("datasets", "jobs", "models", "idempotency_keys"):
        column = sa.Column(
            "tenant", sa.String(64), nullable=False, server_default=sa.text("'default'")
        )
        op.add_column(table, column)
    for table in ("datasets", "jobs", "models"):
        op.create_index(f"ix_{table}_tenant_id", table, ["tenant", "id"])
    op.create_index("ix_jobs_tenant_state", "jobs", ["tenant", "state"])
    op.add_column("jobs", sa.Column("traceparent", sa.String(55)))
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
    )
    op.create_table(
        "request_rates",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("full_at", sa.Double, nullable=False),
    )
