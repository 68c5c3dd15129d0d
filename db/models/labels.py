"""What labellers said: annotations, and below them labels of steps, pairs and critiques; reviewers' decisions."""

import datetime as dt
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from ..schema import Base, BigId, Json, creation_time, one_of
from .labelling import TASK_MODES

ANNOTATION_KINDS = ("steps", "preference", "critique")
FINISH_REASONS = ("found_error", "solution", "bad_problem", "give_up", "skipped")
PREFERENCE_CHOICES = ("a", "b", "equal", "both_bad")
CRITIQUE_JUDGEMENTS = ("right", "partly", "wrong")


class Annotation(Base):
    """What one labeller said of one thing at one time; its labels hang below it."""

    __tablename__ = "annotations"
    __table_args__ = (
        one_of("kind", ANNOTATION_KINDS, name="kind"),
        one_of("mode", TASK_MODES, name="mode"),
        one_of("finish_reason", FINISH_REASONS, name="finish_reason"),
        sa.CheckConstraint("superseded_by_id <> annotation_id", name="not_by_itself"),
        sa.Index("ix_annotations_solution_id_annotator_id", "solution_id", "annotator_id"),
        sa.Index(
            "uq_annotations_current_of_task",
            "task_id",
            "annotator_id",
            unique=True,
            sqlite_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
            postgresql_where=sa.text("superseded_by_id IS NULL AND task_id IS NOT NULL"),
        ),
    )

    annotation_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    submission_id: Mapped[str] = mapped_column(sa.String(128), unique=True)
    """Chosen by whoever submits, so that a repeated submission is recognised."""
    kind: Mapped[str] = mapped_column(sa.String(16))
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    task_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), index=True)
    """None for labels that came by import or from a program."""
    run_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("runs.run_id"), index=True)
    """The run in which a model gave them."""
    solution_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"))
    mode: Mapped[str | None] = mapped_column(sa.String(16))
    finish_reason: Mapped[str | None] = mapped_column(sa.String(16))
    first_error: Mapped[int | None] = mapped_column(sa.Integer)
    """0-based first step labelled -1; None where there is none."""
    comment: Mapped[str | None] = mapped_column(sa.Text)
    guideline: Mapped[str | None] = mapped_column(sa.String(64))
    """Version of the guideline it was made under."""
    suggestion_shown: Mapped[bool | None] = mapped_column(sa.Boolean)
    """Was a model's opinion on screen before the answer."""
    duration_ms: Mapped[int | None] = mapped_column(sa.Integer)
    segments: Mapped[list[str] | None] = mapped_column(Json)
    """The solution's steps as this labeller split or merged them, which the step labels then count; None: as they
    are."""
    checks: Mapped[list[str] | None] = mapped_column(Json)
    """What looked odd when it came in: `too_fast`, `all_good_but_wrong`, ...; None: nothing."""
    source: Mapped[str | None] = mapped_column(sa.String(128))
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)
    created_at: Mapped[dt.datetime] = creation_time()
    superseded_by_id: Mapped[int | None] = mapped_column(
        BigId, sa.ForeignKey("annotations.annotation_id"), index=True
    )


class StepLabel(Base):
    """One labeller's judgement of one step: +1 correct, 0 neutral, -1 incorrect; unjudged steps have no row."""

    __tablename__ = "step_labels"
    __table_args__ = (
        sa.CheckConstraint("label IN (-1, 0, 1)", name="scale"),
        sa.CheckConstraint("step_index >= 0", name="index"),
    )

    annotation_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), primary_key=True)
    step_index: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    """0-based; the index after the last step is the answer's."""
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    is_unsure: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    is_repaired: Mapped[bool] = mapped_column(sa.Boolean, default=False, server_default=sa.false())
    """Of an incorrect step: a later step notices and mends it, so that it is not the solution's first error."""
    duration_ms: Mapped[int | None] = mapped_column(sa.Integer)


class WrittenStep(Base):
    """A step that a labeller wrote in the place of one."""

    __tablename__ = "written_steps"
    __table_args__ = (sa.CheckConstraint("step_index >= 0", name="index"),)

    annotation_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), primary_key=True)
    step_index: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    """0-based; the steps before it are the solution's."""
    text: Mapped[str] = mapped_column(sa.Text)


class AlternativeLabel(Base):
    """One labeller's judgement of an alternative for a step, on the scale of step labels."""

    __tablename__ = "alternative_labels"
    __table_args__ = (sa.CheckConstraint("label IN (-1, 0, 1)", name="scale"),)

    annotation_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), primary_key=True)
    alternative_id: Mapped[int] = mapped_column(
        BigId, sa.ForeignKey("alternatives.alternative_id"), primary_key=True, index=True
    )
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    is_chosen: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    """Whether the labeller would go on from it."""


class Preference(Base):
    """A labeller's choice between two solutions of one problem, stored in the pair's order, not the screen's."""

    __tablename__ = "preferences"
    __table_args__ = (
        one_of("choice", PREFERENCE_CHOICES, name="choice"),
        sa.CheckConstraint("solution_a_id <> solution_b_id", name="pair_differs"),
        sa.CheckConstraint("strength BETWEEN 1 AND 3", name="strength"),
    )

    annotation_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), primary_key=True)
    solution_a_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    solution_b_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("solutions.solution_id"), index=True)
    choice: Mapped[str] = mapped_column(sa.String(16))
    strength: Mapped[int | None] = mapped_column(sa.Integer)
    """1 slightly, 2 clearly, 3 far better; None where not asked."""
    shown_first: Mapped[str | None] = mapped_column(sa.String(1))
    """Which of `a`, `b` stood first on the screen."""
    reasons: Mapped[list[str] | None] = mapped_column(Json)
    """Attributes that spoke for the choice, of those that the project offers."""


class CritiqueJudgement(Base):
    """What a labeller thinks of a critique."""

    __tablename__ = "critique_judgements"
    __table_args__ = (one_of("judgement", CRITIQUE_JUDGEMENTS, name="judgement"),)

    annotation_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), primary_key=True)
    critique_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("critiques.critique_id"), index=True)
    judgement: Mapped[str] = mapped_column(sa.String(16))
    """Is what it says `right`, `partly` right or `wrong`."""
    is_helpful: Mapped[bool | None] = mapped_column(sa.Boolean)
    """Would it help the author to mend the solution."""
    is_verdict_right: Mapped[bool | None] = mapped_column(sa.Boolean)
    """None where it has no readable verdict, or nobody can tell."""
    correction: Mapped[str | None] = mapped_column(sa.Text)
    """The critique as it should read."""


class Adjudication(Base):
    """A reviewer's decision on a step on which labellers differ."""

    __tablename__ = "adjudications"
    __table_args__ = (
        sa.UniqueConstraint("task_id", "step_index", "annotator_id"),
        sa.CheckConstraint("label IN (-1, 0, 1)", name="scale"),
    )

    adjudication_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    task_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"))
    step_index: Mapped[int] = mapped_column(sa.Integer)
    label: Mapped[int] = mapped_column(sa.SmallInteger)
    annotator_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("annotators.annotator_id"), index=True)
    adopted_from_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), index=True)
    note: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = creation_time()


class TaskAdjudication(Base):
    """A reviewer's decision on a pair or a critique on which labellers differ."""

    __tablename__ = "task_adjudications"
    __table_args__ = (
        one_of("choice", PREFERENCE_CHOICES, name="choice"),
        one_of("judgement", CRITIQUE_JUDGEMENTS, name="judgement"),
        sa.CheckConstraint("(choice IS NULL) <> (judgement IS NULL)", name="pair_or_critique"),
    )

    task_id: Mapped[int] = mapped_column(BigId, sa.ForeignKey("tasks.task_id"), primary_key=True)
    annotator_id: Mapped[int] = mapped_column(
        BigId, sa.ForeignKey("annotators.annotator_id"), primary_key=True, index=True
    )
    choice: Mapped[str | None] = mapped_column(sa.String(16))
    """Of a pair, in the pair's order."""
    judgement: Mapped[str | None] = mapped_column(sa.String(16))
    """Of a critique."""
    is_verdict_right: Mapped[bool | None] = mapped_column(sa.Boolean)
    """Of a critique; None where nobody can tell."""
    adopted_from_id: Mapped[int | None] = mapped_column(BigId, sa.ForeignKey("annotations.annotation_id"), index=True)
    note: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[dt.datetime] = creation_time()
