"""The first schema.

Revision: 0001, after None.
"""

import sqlalchemy as sa
from alembic import op

from db.schema import BigId, Json, UtcDateTime, utc_now

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "annotators",
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("erased_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("kind IN ('person', 'model', 'program')", name=op.f("ck_annotators_kind")),
        sa.CheckConstraint("role IN ('annotator', 'reviewer', 'admin')", name=op.f("ck_annotators_role")),
        sa.PrimaryKeyConstraint("annotator_id", name=op.f("pk_annotators")),
        sa.UniqueConstraint("name", name=op.f("uq_annotators_name")),
    )
    op.create_table(
        "exports",
        sa.Column("export_id", BigId, nullable=False),
        sa.Column("config", sa.String(length=32), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("flags", Json, nullable=False),
        sa.Column("counts", Json, nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.PrimaryKeyConstraint("export_id", name=op.f("pk_exports")),
    )
    op.create_table(
        "problems",
        sa.Column("problem_id", BigId, nullable=False),
        sa.Column("statement_hash", sa.String(length=32), nullable=False),
        sa.Column("family", sa.String(length=32), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("reference_answer", sa.Text(), nullable=True),
        sa.Column("reference_solution", sa.Text(), nullable=True),
        sa.Column("reference_trust", sa.String(length=32), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("parent_id", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("(parent_id IS NULL) = (kind = 'original')", name=op.f("ck_problems_variant_has_parent")),
        sa.CheckConstraint(
            "kind IN ('original', 'template', 'program', 'rephrased', 'backward', 'other_variant')",
            name=op.f("ck_problems_kind"),
        ),
        sa.CheckConstraint("length(statement) > 0", name=op.f("ck_problems_statement_not_empty")),
        sa.ForeignKeyConstraint(["parent_id"], ["problems.problem_id"], name=op.f("fk_problems_parent_id_problems")),
        sa.PrimaryKeyConstraint("problem_id", name=op.f("pk_problems")),
        sa.UniqueConstraint("statement_hash", name=op.f("uq_problems_statement_hash")),
    )
    with op.batch_alter_table("problems", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_problems_family"), ["family"], unique=False)
        batch_op.create_index(batch_op.f("ix_problems_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "runs",
        sa.Column("run_id", BigId, nullable=False),
        sa.Column("run_key", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("engine", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=256), nullable=False),
        sa.Column("record", Json, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('solutions', 'alternatives', 'variants', 'critiques', 'preferences', 'rollouts')",
            name=op.f("ck_runs_kind"),
        ),
        sa.CheckConstraint("status IN ('running', 'done', 'stopped', 'failed')", name=op.f("ck_runs_status")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_runs")),
        sa.UniqueConstraint("run_key", name=op.f("uq_runs_run_key")),
    )
    op.create_table(
        "problem_sources",
        sa.Column("problem_source_id", BigId, nullable=False),
        sa.Column("problem_id", BigId, nullable=False),
        sa.Column("source", sa.String(length=128), nullable=False),
        sa.Column("source_key", sa.String(length=256), nullable=False),
        sa.Column("licence", sa.String(length=128), nullable=True),
        sa.Column("extra", Json, nullable=True),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.problem_id"], name=op.f("fk_problem_sources_problem_id_problems")
        ),
        sa.PrimaryKeyConstraint("problem_source_id", name=op.f("pk_problem_sources")),
        sa.UniqueConstraint("source", "source_key", name=op.f("uq_problem_sources_source_source_key")),
    )
    with op.batch_alter_table("problem_sources", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_problem_sources_problem_id"), ["problem_id"], unique=False)

    op.create_table(
        "requests",
        sa.Column("request_id", BigId, nullable=False),
        sa.Column("run_id", BigId, nullable=False),
        sa.Column("problem_id", BigId, nullable=True),
        sa.Column("payload_hash", sa.String(length=32), nullable=False),
        sa.Column("sample_index", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=True),
        sa.Column("finish_reason", sa.String(length=32), nullable=True),
        sa.Column("error_kind", sa.String(length=64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("n_prompt_tokens", sa.Integer(), nullable=True),
        sa.Column("n_completion_tokens", sa.Integer(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("latency_ms", sa.Float(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("(status = 'done') = (response IS NOT NULL)", name=op.f("ck_requests_done_has_response")),
        sa.CheckConstraint(
            "(status = 'failed') = (error_kind IS NOT NULL)", name=op.f("ck_requests_failure_has_kind")
        ),
        sa.CheckConstraint("status IN ('done', 'failed')", name=op.f("ck_requests_status")),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.problem_id"], name=op.f("fk_requests_problem_id_problems")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_requests_run_id_runs")),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_requests")),
        sa.UniqueConstraint("payload_hash", "sample_index", name=op.f("uq_requests_payload_hash_sample_index")),
    )
    with op.batch_alter_table("requests", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_requests_problem_id"), ["problem_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_requests_run_id"), ["run_id"], unique=False)

    op.create_table(
        "solutions",
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("problem_id", BigId, nullable=False),
        sa.Column("run_id", BigId, nullable=True),
        sa.Column("request_id", BigId, nullable=True),
        sa.Column("source", sa.String(length=128), nullable=True),
        sa.Column("source_key", sa.String(length=256), nullable=True),
        sa.Column("generator", sa.String(length=256), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.String(length=32), nullable=False),
        sa.Column("steps", Json, nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Boolean(), nullable=True),
        sa.Column("outcome_rule", sa.String(length=64), nullable=True),
        sa.Column("licence", sa.String(length=128), nullable=True),
        sa.Column("extra", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("(request_id IS NULL) <> (source IS NULL)", name=op.f("ck_solutions_sampled_or_imported")),
        sa.CheckConstraint("(source IS NULL) = (source_key IS NULL)", name=op.f("ck_solutions_source_has_key")),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.problem_id"], name=op.f("fk_solutions_problem_id_problems")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name=op.f("fk_solutions_request_id_requests")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_solutions_run_id_runs")),
        sa.PrimaryKeyConstraint("solution_id", name=op.f("pk_solutions")),
        sa.UniqueConstraint("request_id", name=op.f("uq_solutions_request_id")),
        sa.UniqueConstraint("source", "source_key", name=op.f("uq_solutions_source_source_key")),
    )
    with op.batch_alter_table("solutions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_solutions_problem_id"), ["problem_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_solutions_run_id"), ["run_id"], unique=False)

    op.create_table(
        "critiques",
        sa.Column("critique_id", BigId, nullable=False),
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("problem_id", BigId, nullable=False),
        sa.Column("run_id", BigId, nullable=True),
        sa.Column("request_id", BigId, nullable=True),
        sa.Column("source", sa.String(length=128), nullable=True),
        sa.Column("source_key", sa.String(length=256), nullable=True),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("first_error", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("is_confirmed", sa.Boolean(), nullable=True),
        sa.Column("extra", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("verdict IN ('pass', 'fail', 'unreadable')", name=op.f("ck_critiques_verdict")),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.problem_id"], name=op.f("fk_critiques_problem_id_problems")
        ),
        sa.ForeignKeyConstraint(
            ["request_id"], ["requests.request_id"], name=op.f("fk_critiques_request_id_requests")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_critiques_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.solution_id"], name=op.f("fk_critiques_solution_id_solutions")
        ),
        sa.PrimaryKeyConstraint("critique_id", name=op.f("pk_critiques")),
        sa.UniqueConstraint("request_id", name=op.f("uq_critiques_request_id")),
        sa.UniqueConstraint("source", "source_key", name=op.f("uq_critiques_source_source_key")),
    )
    with op.batch_alter_table("critiques", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_critiques_problem_id"), ["problem_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_critiques_run_id"), ["run_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_critiques_solution_id"), ["solution_id"], unique=False)

    op.create_table(
        "scores",
        sa.Column("score_id", BigId, nullable=False),
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("reward_model", sa.String(length=256), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("step_values", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("kind IN ('prm', 'orm', 'bt')", name=op.f("ck_scores_kind")),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.solution_id"], name=op.f("fk_scores_solution_id_solutions")
        ),
        sa.PrimaryKeyConstraint("score_id", name=op.f("pk_scores")),
        sa.UniqueConstraint("solution_id", "reward_model", name=op.f("uq_scores_solution_id_reward_model")),
    )
    with op.batch_alter_table("scores", schema=None) as batch_op:
        batch_op.create_index("ix_scores_reward_model", ["reward_model"], unique=False)

    op.create_table(
        "step_values",
        sa.Column("step_value_id", BigId, nullable=False),
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("run_id", BigId, nullable=False),
        sa.Column("n_right", sa.Integer(), nullable=False),
        sa.Column("n_rollouts", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "step_index >= 0 AND n_right >= 0 AND n_right <= n_rollouts", name=op.f("ck_step_values_range")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name=op.f("fk_step_values_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.solution_id"], name=op.f("fk_step_values_solution_id_solutions")
        ),
        sa.PrimaryKeyConstraint("step_value_id", name=op.f("pk_step_values")),
        sa.UniqueConstraint(
            "solution_id", "step_index", "run_id", name=op.f("uq_step_values_solution_id_step_index_run_id")
        ),
    )
    with op.batch_alter_table("step_values", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_step_values_run_id"), ["run_id"], unique=False)

    op.create_table(
        "tasks",
        sa.Column("task_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("other_solution_id", BigId, nullable=True),
        sa.Column("critique_id", BigId, nullable=True),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("n_wanted", sa.Integer(), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("(kind = 'critique') = (critique_id IS NOT NULL)", name=op.f("ck_tasks_critique_task")),
        sa.CheckConstraint(
            "(kind = 'preference') = (other_solution_id IS NOT NULL)", name=op.f("ck_tasks_pair_has_two")
        ),
        sa.CheckConstraint("kind IN ('steps', 'preference', 'critique')", name=op.f("ck_tasks_kind")),
        sa.CheckConstraint(
            "mode IN ('first_error', 'all_steps', 'alternatives', 'verify')", name=op.f("ck_tasks_mode")
        ),
        sa.CheckConstraint("n_wanted >= 1", name=op.f("ck_tasks_n_wanted_positive")),
        sa.CheckConstraint("solution_id <> other_solution_id", name=op.f("ck_tasks_pair_differs")),
        sa.ForeignKeyConstraint(
            ["critique_id"], ["critiques.critique_id"], name=op.f("fk_tasks_critique_id_critiques")
        ),
        sa.ForeignKeyConstraint(
            ["other_solution_id"],
            ["solutions.solution_id"],
            name=op.f("fk_tasks_other_solution_id_solutions"),
        ),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.solution_id"], name=op.f("fk_tasks_solution_id_solutions")
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_tasks")),
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tasks_critique_id"), ["critique_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_tasks_other_solution_id"), ["other_solution_id"], unique=False)
        batch_op.create_index("ix_tasks_queue", ["is_open", "priority", "task_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_tasks_solution_id"), ["solution_id"], unique=False)

    op.create_table(
        "annotations",
        sa.Column("annotation_id", BigId, nullable=False),
        sa.Column("submission_id", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("task_id", BigId, nullable=True),
        sa.Column("solution_id", BigId, nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=True),
        sa.Column("finish_reason", sa.String(length=16), nullable=True),
        sa.Column("first_error", sa.Integer(), nullable=True),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("guideline", sa.String(length=64), nullable=True),
        sa.Column("suggestion_shown", sa.Boolean(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(length=128), nullable=True),
        sa.Column("extra", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("superseded_by_id", BigId, nullable=True),
        sa.CheckConstraint(
            "finish_reason IN ('found_error', 'solution', 'bad_problem', 'give_up', 'skipped')",
            name=op.f("ck_annotations_finish_reason"),
        ),
        sa.CheckConstraint("kind IN ('steps', 'preference', 'critique')", name=op.f("ck_annotations_kind")),
        sa.CheckConstraint(
            "mode IN ('first_error', 'all_steps', 'alternatives', 'verify')", name=op.f("ck_annotations_mode")
        ),
        sa.CheckConstraint("superseded_by_id <> annotation_id", name=op.f("ck_annotations_not_by_itself")),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_annotations_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(
            ["solution_id"], ["solutions.solution_id"], name=op.f("fk_annotations_solution_id_solutions")
        ),
        sa.ForeignKeyConstraint(
            ["superseded_by_id"],
            ["annotations.annotation_id"],
            name=op.f("fk_annotations_superseded_by_id_annotations"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_annotations_task_id_tasks")),
        sa.PrimaryKeyConstraint("annotation_id", name=op.f("pk_annotations")),
        sa.UniqueConstraint("submission_id", name=op.f("uq_annotations_submission_id")),
    )
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_annotations_annotator_id"), ["annotator_id"], unique=False)
        batch_op.create_index(
            "ix_annotations_solution_id_annotator_id", ["solution_id", "annotator_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_annotations_superseded_by_id"), ["superseded_by_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_annotations_task_id"), ["task_id"], unique=False)
        batch_op.create_index(
            "uq_annotations_current_of_task",
            ["task_id", "annotator_id"],
            unique=True,
            sqlite_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
            postgresql_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
        )

    op.create_table(
        "claims",
        sa.Column("claim_id", BigId, nullable=False),
        sa.Column("task_id", BigId, nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("claimed_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_claims_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_claims_task_id_tasks")),
        sa.PrimaryKeyConstraint("claim_id", name=op.f("pk_claims")),
        sa.UniqueConstraint("task_id", "annotator_id", name=op.f("uq_claims_task_id_annotator_id")),
    )
    with op.batch_alter_table("claims", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_claims_annotator_id"), ["annotator_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_claims_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "events",
        sa.Column("event_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("annotator_id", BigId, nullable=True),
        sa.Column("task_id", BigId, nullable=True),
        sa.Column("data", Json, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_events_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_events_task_id_tasks")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_annotator_id"), ["annotator_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_task_id"), ["task_id"], unique=False)

    op.create_table(
        "adjudications",
        sa.Column("adjudication_id", BigId, nullable=False),
        sa.Column("task_id", BigId, nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("label", sa.SmallInteger(), nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("adopted_from_id", BigId, nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("label IN (-1, 0, 1)", name=op.f("ck_adjudications_scale")),
        sa.ForeignKeyConstraint(
            ["adopted_from_id"],
            ["annotations.annotation_id"],
            name=op.f("fk_adjudications_adopted_from_id_annotations"),
        ),
        sa.ForeignKeyConstraint(
            ["annotator_id"],
            ["annotators.annotator_id"],
            name=op.f("fk_adjudications_annotator_id_annotators"),
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_adjudications_task_id_tasks")),
        sa.PrimaryKeyConstraint("adjudication_id", name=op.f("pk_adjudications")),
        sa.UniqueConstraint(
            "task_id",
            "step_index",
            "annotator_id",
            name=op.f("uq_adjudications_task_id_step_index_annotator_id"),
        ),
    )
    with op.batch_alter_table("adjudications", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_adjudications_adopted_from_id"), ["adopted_from_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_adjudications_annotator_id"), ["annotator_id"], unique=False)

    op.create_table(
        "preferences",
        sa.Column("annotation_id", BigId, nullable=False),
        sa.Column("solution_a_id", BigId, nullable=False),
        sa.Column("solution_b_id", BigId, nullable=False),
        sa.Column("choice", sa.String(length=16), nullable=False),
        sa.Column("strength", sa.Integer(), nullable=True),
        sa.Column("shown_first", sa.String(length=1), nullable=True),
        sa.CheckConstraint("choice IN ('a', 'b', 'equal', 'both_bad')", name=op.f("ck_preferences_choice")),
        sa.CheckConstraint("solution_a_id <> solution_b_id", name=op.f("ck_preferences_pair_differs")),
        sa.CheckConstraint("strength BETWEEN 1 AND 3", name=op.f("ck_preferences_strength")),
        sa.ForeignKeyConstraint(
            ["annotation_id"],
            ["annotations.annotation_id"],
            name=op.f("fk_preferences_annotation_id_annotations"),
        ),
        sa.ForeignKeyConstraint(
            ["solution_a_id"], ["solutions.solution_id"], name=op.f("fk_preferences_solution_a_id_solutions")
        ),
        sa.ForeignKeyConstraint(
            ["solution_b_id"], ["solutions.solution_id"], name=op.f("fk_preferences_solution_b_id_solutions")
        ),
        sa.PrimaryKeyConstraint("annotation_id", name=op.f("pk_preferences")),
    )
    with op.batch_alter_table("preferences", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_preferences_solution_a_id"), ["solution_a_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_preferences_solution_b_id"), ["solution_b_id"], unique=False)

    op.create_table(
        "step_labels",
        sa.Column("annotation_id", BigId, nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("label", sa.SmallInteger(), nullable=False),
        sa.Column("is_unsure", sa.Boolean(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.CheckConstraint("label IN (-1, 0, 1)", name=op.f("ck_step_labels_scale")),
        sa.CheckConstraint("step_index >= 0", name=op.f("ck_step_labels_index")),
        sa.ForeignKeyConstraint(
            ["annotation_id"],
            ["annotations.annotation_id"],
            name=op.f("fk_step_labels_annotation_id_annotations"),
        ),
        sa.PrimaryKeyConstraint("annotation_id", "step_index", name=op.f("pk_step_labels")),
    )


def downgrade() -> None:
    op.drop_table("step_labels")
    with op.batch_alter_table("preferences", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_preferences_solution_b_id"))
        batch_op.drop_index(batch_op.f("ix_preferences_solution_a_id"))

    op.drop_table("preferences")
    with op.batch_alter_table("adjudications", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_adjudications_annotator_id"))
        batch_op.drop_index(batch_op.f("ix_adjudications_adopted_from_id"))

    op.drop_table("adjudications")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_events_task_id"))
        batch_op.drop_index(batch_op.f("ix_events_kind"))
        batch_op.drop_index(batch_op.f("ix_events_annotator_id"))

    op.drop_table("events")
    with op.batch_alter_table("claims", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_claims_expires_at"))
        batch_op.drop_index(batch_op.f("ix_claims_annotator_id"))

    op.drop_table("claims")
    with op.batch_alter_table("annotations", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_annotations_current_of_task",
            sqlite_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
            postgresql_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_annotations_task_id"))
        batch_op.drop_index(batch_op.f("ix_annotations_superseded_by_id"))
        batch_op.drop_index("ix_annotations_solution_id_annotator_id")
        batch_op.drop_index(batch_op.f("ix_annotations_annotator_id"))

    op.drop_table("annotations")
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tasks_solution_id"))
        batch_op.drop_index("ix_tasks_queue")
        batch_op.drop_index(batch_op.f("ix_tasks_other_solution_id"))
        batch_op.drop_index(batch_op.f("ix_tasks_critique_id"))

    op.drop_table("tasks")
    with op.batch_alter_table("step_values", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_step_values_run_id"))

    op.drop_table("step_values")
    with op.batch_alter_table("scores", schema=None) as batch_op:
        batch_op.drop_index("ix_scores_reward_model")

    op.drop_table("scores")
    with op.batch_alter_table("critiques", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_critiques_solution_id"))
        batch_op.drop_index(batch_op.f("ix_critiques_run_id"))
        batch_op.drop_index(batch_op.f("ix_critiques_problem_id"))

    op.drop_table("critiques")
    with op.batch_alter_table("solutions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_solutions_run_id"))
        batch_op.drop_index(batch_op.f("ix_solutions_problem_id"))

    op.drop_table("solutions")
    with op.batch_alter_table("requests", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_requests_run_id"))
        batch_op.drop_index(batch_op.f("ix_requests_problem_id"))

    op.drop_table("requests")
    with op.batch_alter_table("problem_sources", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_problem_sources_problem_id"))

    op.drop_table("problem_sources")
    op.drop_table("runs")
    with op.batch_alter_table("problems", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_problems_parent_id"))
        batch_op.drop_index(batch_op.f("ix_problems_family"))

    op.drop_table("problems")
    op.drop_table("exports")
    op.drop_table("annotators")
