"""Add the step and the name of a job, the values that early stopping watches, indexes of lists"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("step", sa.String(16)))
    op.add_column("epochs", sa.Column("monitored", sa.Double))
    op.add_column(
        "jobs", sa.Column("keep_model", sa.Boolean, nullable=False, server_default=sa.false())
    )
    _name_jobs()
    _index_lists()


def _name_jobs() -> None:
    op.add_column("jobs", sa.Column("name", sa.Text))
    jobs = sa.table("jobs", sa.column("name"), sa.column("spec", sa.JSON))
    op.execute(sa.update(jobs).values(name=jobs.c.spec["name"].as_string()))


def _index_lists() -> None:
    for table in ("datasets", "jobs", "models"):
        op.create_index(f"ix_{table}_tenant_name", table, ["tenant", "name", "id"])
    op.drop_index("ix_jobs_tenant_state", "jobs")
    op.create_index("ix_jobs_tenant_state", "jobs", ["tenant", "state", "id"])
    op.drop_index("ix_jobs_dataset_id", "jobs")
    op.create_index("ix_jobs_dataset_id", "jobs", ["dataset_id", "id"])
