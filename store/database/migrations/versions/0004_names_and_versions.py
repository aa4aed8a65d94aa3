"""Add versions of a model's name, aliases, and whether a model is served"""

import re
from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The names that could have versions at this revision; see store/model_names.py.
_NAME = re.compile(r"(?!mdl_|\.{1,2}\Z)[^\x00-\x1f\x7f-\x9f/@]{1,200}")


def upgrade() -> None:
    op.add_column("models", sa.Column("version", sa.Integer))
    op.add_column(
        "models", sa.Column("served", sa.Boolean, nullable=False, server_default=sa.true())
    )
    op.create_table(
        "model_names",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("last_version", sa.Integer, nullable=False),
    )
    op.create_table(
        "model_aliases",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("alias", sa.String(64), primary_key=True),
        sa.Column("model_id", sa.String(40), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_model_aliases_model_id"),
    )
    op.create_index("ix_model_aliases_model_id", "model_aliases", ["model_id"])
    _number_models()
    op.create_index(
        "uq_models_tenant_name_version", "models", ["tenant", "name", "version"], unique=True
    )


def _number_models() -> None:
    """Number the models of each name by their ids, which sort by creation time."""
    models = sa.table("models", *map(sa.column, ("id", "tenant", "name", "version")))
    names = sa.table("model_names", *map(sa.column, ("tenant", "name", "last_version")))
    connection = op.get_bind()
    query = sa.select(models).where(models.c.name.is_not(None)).order_by(models.c.id)
    last_versions: Counter[tuple[str, str]] = Counter()
    for row in connection.execute(query).all():
        if _NAME.fullmatch(row.name):
            last_versions[row.tenant, row.name] += 1
            version = last_versions[row.tenant, row.name]
            connection.execute(
                sa.update(models).where(models.c.id == row.id).values(version=version)
            )
    for (tenant, name), version in last_versions.items():
        values = {"tenant": tenant, "name": name, "last_version": version}
        connection.execute(sa.insert(names).values(values))
