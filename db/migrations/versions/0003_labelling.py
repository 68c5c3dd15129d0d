"""What the labelling app needs: projects, guidelines, accounts, known answers, drafts, notes, labels of more kinds.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

from db.schema import BigId, Json, UtcDateTime, utc_now

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("password_hash", sa.String(length=256), nullable=True),
        sa.Column("identity", sa.String(length=512), nullable=True),
        sa.Column("n_failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_until", UtcDateTime(), nullable=True),
        sa.Column("settings", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_accounts_annotator_id_annotators")
        ),
        sa.PrimaryKeyConstraint("annotator_id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("identity", name=op.f("uq_accounts_identity")),
    )
    op.create_table(
        "guidelines",
        sa.Column("guideline_id", BigId, nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("author_id", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["author_id"], ["annotators.annotator_id"], name=op.f("fk_guidelines_author_id_annotators")
        ),
        sa.PrimaryKeyConstraint("guideline_id", name=op.f("pk_guidelines")),
        sa.UniqueConstraint("version", name=op.f("uq_guidelines_version")),
    )
    op.create_index(op.f("ix_guidelines_author_id"), "guidelines", ["author_id"])
    op.create_table(
        "sign_ins",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_sign_ins_annotator_id_annotators")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sign_ins")),
    )
    op.create_index(op.f("ix_sign_ins_annotator_id"), "sign_ins", ["annotator_id"])
    op.create_table(
        "projects",
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("n_wanted", sa.Integer(), nullable=False),
        sa.Column("guideline_id", BigId, nullable=True),
        sa.Column("access", sa.String(length=16), nullable=False),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("settings", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("access IN ('everyone', 'members')", name=op.f("ck_projects_access")),
        sa.CheckConstraint("kind IN ('steps', 'preference', 'critique')", name=op.f("ck_projects_kind")),
        sa.CheckConstraint(
            "mode IN ('first_error', 'all_steps', 'alternatives', 'verify')", name=op.f("ck_projects_mode")
        ),
        sa.CheckConstraint("n_wanted >= 1", name=op.f("ck_projects_n_wanted_positive")),
        sa.ForeignKeyConstraint(
            ["guideline_id"], ["guidelines.guideline_id"], name=op.f("fk_projects_guideline_id_guidelines")
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_index(op.f("ix_projects_guideline_id"), "projects", ["guideline_id"])
    op.create_table(
        "invitations",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("annotator_id", BigId, nullable=True),
        sa.Column("project_id", BigId, nullable=True),
        sa.Column("created_by_id", BigId, nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("used_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint(
            "(kind = 'reset') = (annotator_id IS NOT NULL)", name=op.f("ck_invitations_reset_names_account")
        ),
        sa.CheckConstraint("kind IN ('invite', 'reset')", name=op.f("ck_invitations_kind")),
        sa.CheckConstraint("role IN ('annotator', 'reviewer', 'admin')", name=op.f("ck_invitations_role")),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_invitations_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(
            ["created_by_id"], ["annotators.annotator_id"], name=op.f("fk_invitations_created_by_id_annotators")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.project_id"], name=op.f("fk_invitations_project_id_projects")
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_invitations")),
    )
    op.create_index(op.f("ix_invitations_annotator_id"), "invitations", ["annotator_id"])
    op.create_index(op.f("ix_invitations_created_by_id"), "invitations", ["created_by_id"])
    op.create_index(op.f("ix_invitations_project_id"), "invitations", ["project_id"])
    op.create_table(
        "memberships",
        sa.Column("project_id", BigId, nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.CheckConstraint("state IN ('testing', 'active', 'paused')", name=op.f("ck_memberships_state")),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_memberships_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.project_id"], name=op.f("fk_memberships_project_id_projects")
        ),
        sa.PrimaryKeyConstraint("project_id", "annotator_id", name=op.f("pk_memberships")),
    )
    op.create_index(op.f("ix_memberships_annotator_id"), "memberships", ["annotator_id"])
    op.create_table(
        "drafts",
        sa.Column("task_id", BigId, nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("updated_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_drafts_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_drafts_task_id_tasks")),
        sa.PrimaryKeyConstraint("task_id", "annotator_id", name=op.f("pk_drafts")),
    )
    op.create_index(op.f("ix_drafts_annotator_id"), "drafts", ["annotator_id"])
    op.create_table(
        "known_answers",
        sa.Column("task_id", BigId, nullable=False),
        sa.Column("answer", Json, nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_known_answers_task_id_tasks")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_known_answers")),
    )
    op.create_table(
        "notes",
        sa.Column("note_id", BigId, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("annotator_id", BigId, nullable=False),
        sa.Column("author_id", BigId, nullable=False),
        sa.Column("task_id", BigId, nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), server_default=utc_now(), nullable=False),
        sa.Column("read_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("kind IN ('sent_back', 'feedback', 'message')", name=op.f("ck_notes_kind")),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotators.annotator_id"], name=op.f("fk_notes_annotator_id_annotators")
        ),
        sa.ForeignKeyConstraint(
            ["author_id"], ["annotators.annotator_id"], name=op.f("fk_notes_author_id_annotators")
        ),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.task_id"], name=op.f("fk_notes_task_id_tasks")),
        sa.PrimaryKeyConstraint("note_id", name=op.f("pk_notes")),
    )
    op.create_index(op.f("ix_notes_annotator_id"), "notes", ["annotator_id"])
    op.create_index(op.f("ix_notes_author_id"), "notes", ["author_id"])
    op.create_index(op.f("ix_notes_task_id"), "notes", ["task_id"])
    op.create_table(
        "alternative_labels",
        sa.Column("annotation_id", BigId, nullable=False),
        sa.Column("alternative_id", BigId, nullable=False),
        sa.Column("label", sa.SmallInteger(), nullable=False),
        sa.Column("is_chosen", sa.Boolean(), nullable=False),
        sa.CheckConstraint("label IN (-1, 0, 1)", name=op.f("ck_alternative_labels_scale")),
        sa.ForeignKeyConstraint(
            ["alternative_id"],
            ["alternatives.alternative_id"],
            name=op.f("fk_alternative_labels_alternative_id_alternatives"),
        ),
        sa.ForeignKeyConstraint(
            ["annotation_id"],
            ["annotations.annotation_id"],
            name=op.f("fk_alternative_labels_annotation_id_annotations"),
        ),
        sa.PrimaryKeyConstraint("annotation_id", "alternative_id", name=op.f("pk_alternative_labels")),
    )
    op.create_index(op.f("ix_alternative_labels_alternative_id"), "alternative_labels", ["alternative_id"])
    op.create_table(
        "critique_judgements",
        sa.Column("annotation_id", BigId, nullable=False),
        sa.Column("critique_id", BigId, nullable=False),
        sa.Column("judgement", sa.String(length=16), nullable=False),
        sa.Column("is_helpful", sa.Boolean(), nullable=True),
        sa.Column("is_verdict_right", sa.Boolean(), nullable=True),
        sa.Column("correction", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "judgement IN ('right', 'partly', 'wrong')", name=op.f("ck_critique_judgements_judgement")
        ),
        sa.ForeignKeyConstraint(
            ["annotation_id"],
            ["annotations.annotation_id"],
            name=op.f("fk_critique_judgements_annotation_id_annotations"),
        ),
        sa.ForeignKeyConstraint(
            ["critique_id"], ["critiques.critique_id"], name=op.f("fk_critique_judgements_critique_id_critiques")
        ),
        sa.PrimaryKeyConstraint("annotation_id", name=op.f("pk_critique_judgements")),
    )
    op.create_index(op.f("ix_critique_judgements_critique_id"), "critique_judgements", ["critique_id"])
    op.create_table(
        "written_steps",
        sa.Column("annotation_id", BigId, nullable=False),
        sa.Column("step_index", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.CheckConstraint("step_index >= 0", name=op.f("ck_written_steps_index")),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.annotation_id"], name=op.f("fk_written_steps_annotation_id_annotations")
        ),
        sa.PrimaryKeyConstraint("annotation_id", "step_index", name=op.f("pk_written_steps")),
    )
    op.add_column("annotations", sa.Column("segments", Json, nullable=True))
    op.add_column("annotations", sa.Column("checks", Json, nullable=True))
    op.add_column("preferences", sa.Column("reasons", Json, nullable=True))
    op.add_column("step_labels", sa.Column("is_repaired", sa.Boolean(), server_default=sa.false(), nullable=False))
    # Keys and checks stand in the columns' own definitions: SQLite adds no constraint to a table that is there.
    op.add_column(
        "tasks",
        sa.Column("project_id", BigId, sa.ForeignKey("projects.project_id"), nullable=True),
        inline_references=True,
    )
    op.add_column(
        "tasks",
        sa.Column("assigned_to_id", BigId, sa.ForeignKey("annotators.annotator_id"), nullable=True),
        inline_references=True,
    )
    op.add_column(
        "tasks",
        sa.Column(
            "purpose",
            sa.String(length=16),
            sa.CheckConstraint(
                "purpose IN ('label', 'gold', 'entry', 'practice', 'calibration', 'repeat', 'relabel')",
                name=op.f("ck_tasks_purpose"),
            ),
            server_default="label",
            nullable=False,
        ),
    )
    op.add_column("tasks", sa.Column("step_index", sa.Integer(), nullable=True))
    op.create_index(op.f("ix_tasks_assigned_to_id"), "tasks", ["assigned_to_id"])
    # The queue's index begins with the project, so that a claim in one never walks over another's tasks.
    op.drop_index("ix_tasks_queue", "tasks")
    op.create_index("ix_tasks_queue", "tasks", ["project_id", "is_open", "priority", "task_id"])
