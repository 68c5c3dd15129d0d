"""What the generator needs: usage of runs, batches, alternatives, refinements, critiques of critiques, flags.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

from db.schema import BigId, Json, UtcDateTime, utc_now

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _key(name: str, target: str) -> sa.Column[int]:
    # The key is written into the column's own definition: SQLite adds no constraint to a table that is there.
    return sa.Column(name, BigId, sa.ForeignKey(target), nullable=True)


def upgrade() -> None:
    op.add_column("problems", sa.Column("answer_kind", sa.String(length=16), server_default="value", nullable=False))
    for name in ("n_samples", "n_prompt_tokens", "n_completion_tokens", "n_unpriced"):
        op.add_column("runs", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("runs", sa.Column("cost_usd", sa.Float(), server_default="0", nullable=False))
    op.add_column("step_values", sa.Column("n_unreadable", sa.Integer(), server_default="0", nullable=False))
    _allow_values_of_problems()
    op.add_column("critiques", sa.Column("critic", sa.String(length=256), nullable=True))
    op.add_column("critiques", sa.Column("confirmation_rule", sa.String(length=64), nullable=True))
    op.add_column("critiques", _key("target_critique_id", "critiques.critique_id"), inline_references=True)
    op.create_index(op.f("ix_critiques_target_critique_id"), "critiques", ["target_critique_id"])
    op.add_column("annotations", _key("run_id", "runs.run_id"), inline_references=True)
    op.create_index(op.f("ix_annotations_run_id"), "annotations", ["run_id"])

    op.create_table(
        "problem_flags",
        sa.Column("problem_flag_id", BigId, nullable=False),
        sa.Column("problem_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("against", sa.String(length=256), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("extra", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("kind IN ('duplicate', 'contaminated')", name=op.f("ck_problem_flags_kind")),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.problem_id"], name=op.f("fk_problem_flags_problem_id_problems")
        ),
        sa.PrimaryKeyConstraint("problem_flag_id", name=op.f("pk_problem_flags")),
        sa.UniqueConstraint("problem_id", "kind", "against", name=op.f("uq_problem_flags_problem_id_kind_against")),
    )
    op.create_table(
        "batches",
        sa.Column("batch_id", BigId, nullable=False),
        sa.Column("endpoint", sa.String(length=256), nullable=False),
        sa.Column("batch_key", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("asked", Json, nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("batch_id", name=op.f("pk_batches")),
        sa.UniqueConstraint("endpoint", "batch_key", name=op.f("uq_batches_endpoint_batch_key")),
    )
    op.create_index(op.f("ix_batches_is_open"), "batches", ["is_open"])
    op.create_table(
        "alternatives",
        sa.Column("alternative_id", BigId, nullable=False),
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("run_id", BigId, nullable=False),
        sa.Column("request_id", BigId, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_answer", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.solution_id"], name=op.f("fk_alternatives_solution_id_solutions")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_alternatives_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name=op.f("fk_alternatives_request_id_requests")
        ),
        sa.PrimaryKeyConstraint("alternative_id", name=op.f("pk_alternatives")),
        sa.UniqueConstraint(
            "request_id", "solution_id", "step_index", name=op.f("uq_alternatives_request_id_solution_id_step_index")
        ),
    )
    op.create_index(op.f("ix_alternatives_solution_id"), "alternatives", ["solution_id"])
    op.create_index(op.f("ix_alternatives_run_id"), "alternatives", ["run_id"])
    op.create_table(
        "refinements",
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("critique_id", BigId, nullable=False),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.solution_id"], name=op.f("fk_refinements_solution_id_solutions")
        ),
        sa.ForeignKeyConstraint(
            ["critique_id"], ["critiques.critique_id"], name=op.f("fk_refinements_critique_id_critiques")
        ),
        sa.PrimaryKeyConstraint("solution_id", name=op.f("pk_refinements")),
    )
    op.create_index(op.f("ix_refinements_critique_id"), "refinements", ["critique_id"])


def _allow_values_of_problems() -> None:
    """The step index of a value may be -1: that of the problem itself."""
    name = op.f("ck_step_values_range")
    with op.batch_alter_table("step_values") as batch:  # SQLite makes the table anew
        batch.drop_constraint(name, type_="check")
        batch.create_check_constraint(name, "step_index >= -1 AND n_right >= 0 AND n_right <= n_rollouts")
