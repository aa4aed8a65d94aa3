"""Add the step that a running job is at, and the values that early stopping watches"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("step", sa.String(16)))
    op.add_column("epochs", sa.Column("monitored", sa.Double))
