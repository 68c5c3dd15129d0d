"""Alternatives that came by import, decisions on pairs and critiques, and secrets of the database's own.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

from db.schema import BigId, UtcDateTime, utc_now

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("alternatives") as batch:  # SQLite makes the table anew
        batch.alter_column("run_id", existing_type=BigId, nullable=True)
        batch.alter_column("request_id", existing_type=BigId, nullable=True)
        batch.add_column(sa.Column("source", sa.String(length=128), nullable=True))
        batch.add_column(sa.Column("source_key", sa.String(length=256), nullable=True))
        batch.create_unique_constraint(op.f("uq_alternatives_source_source_key"), ["source", "source_key"])
        batch.create_check_constraint(
            op.f("ck_alternatives_source_has_key"), "(source IS NULL) = (source_key IS NULL)"
        )
        batch.create_check_constraint(
            op.f("ck_alternatives_sampled_or_imported"), "(request_id IS NULL) <> (source IS NULL)"
        )
    op.create_table(
        "task_adjudications",
        sa.Column("task_id", BigId, nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("choice", sa.String(length=16), nullable=True),
        sa.Column("judgement", sa.String(length=16), nullable=True),
        sa.Column("is_verdict_right", sa.Boolean(), nullable=True),
        sa.Column("adopted_from_id", BigId, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("choice IN ('a', 'b', 'equal', 'both_bad')", name=op.f("ck_task_adjudications_choice")),
        sa.CheckConstraint("judgement IN ('right', 'partly', 'wrong')", name=op.f("ck_task_adjudications_judgement")),
        sa.CheckConstraint(
            "(choice IS NULL) <> (judgement IS NULL)", name=op.f("ck_task_adjudications_pair_or_critique")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_task_adjudications_task_id_tasks")),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_task_adjudications_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(
            ["adopted_from_id"],
            ["annotations.annotation_id"],
            name=op.f("fk_task_adjudications_adopted_from_id_annotations"),
        ),
        sa.PrimaryKeyConstraint("task_id", "annotator_id", name=op.f("pk_task_adjudications")),
    )
    op.create_index(op.f("ix_task_adjudications_annotator_id"), "task_adjudications", ["annotator_id"])
    op.create_index(op.f("ix_task_adjudications_adopted_from_id"), "task_adjudications", ["adopted_from_id"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
