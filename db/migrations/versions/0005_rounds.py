"""Rounds of a loop, and which round a run of the generator belongs to.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

from db.schema import BigId, Json, UtcDateTime, utc_now

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rounds",
        sa.Column("round_id", BigId, nullable=False),
        sa.Column("loop", sa.String(length=128), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("plan", Json, nullable=False),
        sa.Column("selected", Json, nullable=False),
        sa.Column("metrics", Json, nullable=False),
        sa.Column("guards", Json, nullable=False),
        sa.Column("counts", Json, nullable=False),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("number >= 0", name=op.f("ck_rounds_number")),
        sa.PrimaryKeyConstraint("round_id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("loop", "number", name=op.f("uq_rounds_loop_number")),
    )
    # The key stands in the column's own definition: SQLite adds no constraint to a table that is there.
    op.add_column(
        "runs",
        sa.Column("round_id", BigId, sa.ForeignKey("rounds.round_id"), nullable=True),
        inline_references=True,
    )
    op.create_index(op.f("ix_runs_round_id"), "runs", ["round_id"])
